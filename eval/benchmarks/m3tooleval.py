"""M3ToolEval: 82 tasks of several calls, with actions in code, JSON or text (CodeAct, arXiv 2402.01030, Table 3)."""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from rollout import Sampling, TaskSet
from rollout.families import data_family

_INFO = data_family("m3tooleval").info

M3TOOLEVAL = BenchmarkSpec(
    title=_INFO.title,
    licence=_INFO.licence,
    tasks=TaskSet(family="m3tooleval", split="test", count=None),
    protocols={"code": "m3tooleval", "json": "m3tooleval-json", "text": "m3tooleval-text"},
    size=82,
    sampling=Sampling(temperature=0.0, max_tokens=512),
    defects=_INFO.defects,
)
