"""Benchmarks of questions that are answered in one turn without tools: GSM8K, MATH, HumanEval, MBPP.

The examples in their prompts are written for this project, so figures are not those of another harness's prompt. The
paper samples HumanEval 200 times at temperature 0.2 and completes the raw prompt; here a chat model is asked for the
whole function, once and greedily by default. `samples` and `sampling` of the configuration draw more, for pass@k.
"""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from rollout import Sampling, TaskSet

GSM8K = BenchmarkSpec(
    title="GSM8K (Cobbe et al., 2021)",
    licence="MIT",
    tasks=TaskSet(family="gsm8k", split="test", count=None),
    protocols={"8-shot": "gsm8k-8-shot", "mint": "mint"},
    size=1319,
    sampling=Sampling(max_tokens=512, stop=("Task:",)),
    grader="last_number",
    defects=(
        "The paper's rule takes the last run of digits: 3.5 becomes 5, -2 becomes 2, 1,234 becomes 234. Ours takes the "
        "last number with its sign, decimals and thousands commas.",
    ),
)
MATH = BenchmarkSpec(
    title="MATH (Hendrycks et al., 2021)",
    licence="MIT",
    tasks=TaskSet(family="math", split="test", count=None),
    protocols={"4-shot": "math-4-shot", "mint": "mint"},
    size=5000,
    sampling=Sampling(max_tokens=1024, stop=("Task:",)),
)
HUMANEVAL = BenchmarkSpec(
    title="HumanEval (Chen et al., 2021)",
    licence="MIT",
    tasks=TaskSet(family="humaneval", split="test", count=None),
    protocols={"direct": "complete-code", "mint": "mint"},
    size=164,
    sampling=Sampling(max_tokens=512),
)
MBPP = BenchmarkSpec(
    title="MBPP (Austin et al., 2021)",
    licence="CC BY 4.0",
    tasks=TaskSet(family="mbpp", split="test", count=None),
    protocols={"direct": "complete-code", "mint": "mint"},
    size=500,
    sampling=Sampling(max_tokens=512),
)
