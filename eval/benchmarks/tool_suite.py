"""The suite of five domains that needs no data: of the shape and size of M3ToolEval, for those who do not have it."""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from rollout import TaskSet

TOOL_SUITE = BenchmarkSpec(
    title="Five domains of tools (library, warehouse, laboratory, railway, archive), made by this project",
    licence="Apache-2.0",
    tasks=TaskSet(family="tool_suite", split="test", count=82, seed=0),
    protocols={"code": "m3tooleval", "json": "m3tooleval-json", "text": "m3tooleval-text"},
    size=82,
)
