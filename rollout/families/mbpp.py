"""MBPP: short Python functions, checked by three assertions each (arXiv 2108.07732)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused, mint_source
from rollout.families.data.rows import Row

_URL = (
    "https://raw.githubusercontent.com/deepseek-ai/DeepSeek-Coder/2f9fd85927c669dae3c0fbb2d607274023af243e/"
    "Evaluation/MBPP/data/mbpp.jsonl"
)
_SHA256 = "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f"
TIMEOUT_S = 20
"""Limit of an assertion. The slowest published program (``mbpp-123``) needs 5.4 s of processor time for one."""
_RANGES = {"prompt": (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}


class Mbpp(DataFamily):
    """The model sees the first assertion, which gives the function's name; all three decide."""

    name: ClassVar[str] = "mbpp"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="MBPP (Austin et al., 2021)",
        licence="CC BY 4.0",
        splits={
            "prompt": "10 problems, used as examples",
            "test": "500 problems",
            "validation": "90 problems",
            "train": "374 problems",
            "mint": "91 problems of `test` that MINT uses",
        },
        sources={
            split: (
                DataSource(
                    ("mbpp/mbpp.jsonl.gz", "mbpp/mbpp.jsonl"),
                    _URL,
                    _SHA256,
                    hub="google-research-datasets/mbpp",
                    hub_config="full",
                    hub_split=split,
                ),
            )
            for split in _RANGES
        }
        | {"mint": (mint_source("mbpp"),)},
        grader="unit_tests",
        defects=(
            "The set-up code of two problems uses a class that the solution defines; here it runs after the solution, "
            "before each assertion.",
            "The usual limit of 10 s stops the published program of `mbpp-123` on a busy machine; here it is 20 s, but "
            "10 s in `mint`.",
            "The harder assertions (`challenge_test_list`) of some problems contradict their text; they are not used.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        first, last = _RANGES.get(split, (1, 974))
        for row in root.rows(source):
            name = str(row["id"]) if split == "mint" else f"mbpp-{row['task_id']}"
            if not first <= int(row["task_id"]) <= last:
                continue
            if not row["test_list"]:
                yield Refused(name, "no tests")
                continue
            yield self._task(split, name, row)

    def _task(self, split: str, name: str, row: Row) -> Task:
        setup = (row.get("test_setup_code") or "").replace("\r\n", "\n").strip()
        tests = [f"{setup}\n{test}" if setup else test for test in row["test_list"]]
        limit = 10 if split == "mint" else TIMEOUT_S
        answer = {"before": "", "tests": tests, "entry_point": None, "timeout_s": limit}
        return self.task(
            split,
            name,
            prompt=f"{row['text'].strip()}\n\nThis test, and others like it, must pass:\n{row['test_list'][0]}",
            answer=answer,
            solution=row["code"].replace("\r\n", "\n"),
        )


generate = Mbpp()
