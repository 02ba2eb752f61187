"""MINT (arXiv 2309.10691): eight sets of tasks, measured with at most k = 1 to 5 turns.

Contract: ``mint`` is k = 5, the paper's columns MINT-ID and MINT-OD; ``mint-k1`` to ``mint-k4`` are the others. All
have the same tasks, so the same digest; their protocols differ. The first three sets are in the domain of the paper's
training data. Feedback of a simulated user is a key of the protocol: ``protocol: {extends: mint, user_feedback: {}}``.
"""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from rollout import Sampling, TaskSet

IN_DOMAIN = ("alfworld", "math", "hotpotqa")
OUT_OF_DOMAIN = ("gsm8k", "mmlu", "theoremqa", "humaneval", "mbpp")


def _with_turns(k: int) -> BenchmarkSpec:
    return BenchmarkSpec(
        title=f"MINT (Wang et al., 2024), at most {k} turn{'s' * (k > 1)}",
        licence="Apache-2.0; its sets: MIT, Apache-2.0, CC BY 4.0 (MBPP), CC BY-SA 4.0 (HotpotQA)",
        tasks=tuple(TaskSet(family=name, split="mint", count=None) for name in (*IN_DOMAIN, *OUT_OF_DOMAIN)),
        protocols={f"k{k}": "mint" if k == 5 else f"mint-k{k}"},
        size=586,
        sampling=Sampling(max_tokens=512),
        groups=dict.fromkeys(IN_DOMAIN, "mint_id") | dict.fromkeys(OUT_OF_DOMAIN, "mint_od"),
        defects=(
            "The published average in domain is mostly ALFWorld (134 of 277 tasks); the report shows each set.",
            "The reference compares numbers within 5 % of the signed reference, which no negative number passes, and "
            "looks for words as a substring. Here signs and whole words count. `evaluate.workers.legacy_verdicts` "
            "keeps the reference's verdicts beside ours.",
        ),
    )


MINT_K1, MINT_K2, MINT_K3, MINT_K4, MINT = map(_with_turns, range(1, 6))
