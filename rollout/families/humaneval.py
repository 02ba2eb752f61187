"""HumanEval: Python functions to be completed from signature and docstring (arXiv 2107.03374)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused, mint_source

_SHA256 = "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"
_URL = "https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz"


class HumanEval(DataFamily):
    """The answer's ``before`` is the prompt, so a solution may be the whole function or its body alone."""

    name: ClassVar[str] = "humaneval"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="HumanEval (Chen et al., 2021)",
        licence="MIT",
        splits={"test": "164 problems", "mint": "45 problems of `test` that MINT uses"},
        sources={
            "test": (
                DataSource(
                    ("humaneval/HumanEval.jsonl.gz", "humaneval/HumanEval.jsonl"),
                    _URL,
                    _SHA256,
                    hub="openai/openai_humaneval",
                    hub_config="openai_humaneval",
                    hub_split="test",
                ),
            ),
            "mint": (mint_source("humaneval"),),
        },
        grader="unit_tests",
        defects=(
            "The tests of a few problems are weaker than their text (EvalPlus, arXiv 2305.01210, lists them); they are "
            "used as published.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        for row in root.rows(source):
            name = str(row["id"] if split == "mint" else row["task_id"])
            if "def check(" not in row["test"]:
                yield Refused(name, "no tests")
                continue
            answer = {
                "before": row["prompt"],
                "tests": [f"{row['test'].strip()}\n\ncheck({row['entry_point']})"],
                "entry_point": row["entry_point"],
                "timeout_s": 10,
            }
            yield self.task(
                split,
                name,
                prompt=f"Complete this function:\n\n{row['prompt'].strip()}",
                answer=answer,
                solution=f"{row['prompt'].rstrip()}\n{row['canonical_solution']}",
            )


generate = HumanEval()
