"""MMLU: multiple-choice questions of 57 subjects, answered by the most probable letter (arXiv 2009.03300).

Contract: each question follows five solved ones of its subject. The model generates nothing: the server is asked how
probable the letters are (:class:`rollout.engines.ScoringEngine`). Accuracy is over all questions, as in the paper; the
report also shows each subject, and the mean of the subjects as the score.
"""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from eval.scale import ScoreScale
from rollout import Sampling, TaskSet

MMLU = BenchmarkSpec(
    title="MMLU, 5-shot by log-probabilities (Hendrycks et al., 2021)",
    licence="MIT",
    tasks=TaskSet(family="mmlu", split="test", count=None, options={"shots": 5}),
    protocols={"5-shot": "mmlu-5-shot", "5-shot-chat": "mmlu-5-shot-chat"},
    size=14_042,
    sampling=Sampling(max_tokens=1),
    score=ScoreScale(high=100.0, mean_of="kinds", beside=True),
    defects=(
        "The reference takes a letter that is not among the 100 most probable tokens for one of log-probability -100, "
        "and answers A when none is. Here its log-probability is asked for, and a question of which the server says "
        "nothing has no verdict.",
        "The reference compares single tokens; here a letter may be several.",
        "The original has two spaces before the subject in its first line. Ours has one.",
        "The original drops solved questions from prompts that are longer than 2,048 tokens. Here none is dropped; a "
        "prompt that does not fit the model's context ends its episode with `context_full`.",
        "Subjects have 100 to 1,534 questions, so the accuracy over all is not their mean. Both are shown.",
    ),
)
