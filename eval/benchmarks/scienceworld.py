"""ScienceWorld (arXiv 2203.07540): 30 tasks with at most ten variations each, as CodeAct's Table 5 evaluates it."""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from eval.scale import ScoreScale
from rollout import Sampling, TaskSet
from rollout.families import data_family

_INFO = data_family("scienceworld").info

SCIENCEWORLD = BenchmarkSpec(
    title=_INFO.title,
    licence=_INFO.licence,
    tasks=TaskSet(family="scienceworld", split="test", count=None),
    protocols={"code": "scienceworld", "text": "scienceworld-text"},
    size=270,
    sampling=Sampling(max_tokens=256),
    score=ScoreScale(low=0.0, high=100.0, mean_of="kinds"),
    defects=(
        "The reference's prompt has a solved task; here it has none, so figures are not those of its prompt.",
        *_INFO.defects,
    ),
)
