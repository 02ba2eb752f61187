"""WikiTableQuestions: questions over tables of Wikipedia (arXiv 1508.00305), answered with code on the table.

Contract: the official test, 4,344 questions over tables that are in no other split, in two forms: the table is a pandas
DataFrame (``wtq``), or a table of a sqlite database (``wtq-sqlite``). Both forms have the same questions, so their
results can be compared question by question.
"""

from __future__ import annotations

from eval.benchmarks.spec import BenchmarkSpec
from rollout import Sampling, TaskSet
from rollout.families import data_family

_INFO = data_family("wikitablequestions").info


def _form(kind: str, words: str) -> BenchmarkSpec:
    return BenchmarkSpec(
        title=f"{_INFO.title}, test, the table {words}",
        licence=_INFO.licence,
        tasks=TaskSet(family="wikitablequestions", split="test", count=None, kinds=(kind,)),
        protocols={"mint": "mint", "tags": "codeact", "fenced": "fenced"},
        size=4344,
        sampling=Sampling(max_tokens=512),
        defects=_INFO.defects,
    )


WTQ = _form("pandas", "as a DataFrame")
WTQ_SQLITE = _form("sqlite", "in a sqlite database")
