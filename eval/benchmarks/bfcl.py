"""BFCL (Berkeley Function Calling Leaderboard): calls of described functions, compared with possible answers."""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from rollout import TaskSet

BFCL = BenchmarkSpec(
    title="BFCL v4: simple, multiple, parallel, parallel multiple and irrelevance (Patil et al., 2025)",
    licence="Apache-2.0",
    tasks=TaskSet(family="bfcl", split="all", count=None),
    protocols={"code": "bfcl-code", "json": "bfcl-json", "tools": "bfcl-tools"},
    size=1240,
    defects=(
        "The original scores each category and averages some; here the overall rate is over all requests, and each "
        "category is a row.",
        "The original's prompt leaves the language of calls to the model's handler; here it is the protocol's. The "
        "verdict by its rule is kept beside ours with `workers.legacy_verdicts`.",
        "Requests of the categories live, multi-turn, Java, JavaScript and of agents are not measured.",
    ),
)
"""1,240 requests, in the groups of their categories."""
