"""MT-Bench: conversations of two questions, each answer rated by a judge from 1 to 10 (arXiv 2306.05685; CodeAct,
arXiv 2402.01030, Table 5).

Contract: the score of a task is the mean of its two ratings, that of the benchmark the mean of all. Nothing is
comparable across judges: the judge's name is part of a result's key.
"""

from __future__ import annotations

from dataclasses import replace

from eval.benchmarks.spec import BenchmarkSpec
from eval.scale import ScoreScale
from rollout import Sampling, TaskSet
from rollout.families import data_family

_INFO = data_family("mt_bench").info

MT_BENCH = BenchmarkSpec(
    title=_INFO.title,
    licence=_INFO.licence,
    tasks=TaskSet(family="mt_bench", split="test", count=None),
    protocols={"chat": "conversation"},
    size=80,
    sampling=Sampling(temperature=0.0, max_tokens=1024),
    temperatures={"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1},
    score=ScoreScale(low=1.0, high=10.0),
    defects=(
        "A judge's reply without a number, or no reply, is a rating of -1 in the original, and its tables leave it out "
        "without a word. Here the judge is asked again, and then the task has no verdict: the "
        "result lists it, and evaluating again runs it.",
        "The original takes the first number in double or single brackets anywhere in the reply: one that the judge "
        "quotes from the answer, and `[[100]]` or `[[0]]`. Here it is the last line, from 1 to 10.",
        "The original puts answers between fixed marks, which an answer can write, too. Here they are a digest of the "
        "answers.",
        "For a second answer the original puts both references in front of the conversation. Here each stands between "
        "its question and the answer to it.",
        "The judge of the original is GPT-4 of 2023 with the original's prompts. The prompts here are this project's, "
        "and the judge is yours: compare scores of the same judge only.",
        *_INFO.defects,
    ),
)
MT_BENCH_REFERENCE = replace(
    MT_BENCH,
    title=f"{_INFO.title}, with the original's reference answers",
    tasks=TaskSet(family="mt_bench", split="test-reference", count=None),
)
