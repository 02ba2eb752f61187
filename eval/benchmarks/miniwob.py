"""MiniWoB++: 46 web pages, four seeds each, in a real browser (CodeAct, arXiv 2402.01030, Table 5)."""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from rollout import Sampling, TaskSet
from rollout.families import data_family

_INFO = data_family("miniwob").info

MINIWOB = BenchmarkSpec(
    title=_INFO.title,
    licence=_INFO.licence,
    tasks=TaskSet(family="miniwob", split="test", count=None),
    protocols={"code": "miniwob", "json": "miniwob-json", "text": "miniwob-text"},
    size=184,
    sampling=Sampling(temperature=0.0, max_tokens=256),
    defects=(
        "The reference's agent plans, criticises its plan and shortens its prompt (RCI, text actions); here every "
        "model acts in turns, at most 30, and sees the page after each action.",
        *_INFO.defects,
    ),
)
