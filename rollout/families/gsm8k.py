"""GSM8K: grade-school word problems with one number as the answer (arXiv 2110.14168)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused

_ADDRESS = "https://raw.githubusercontent.com/openai/grade-school-math/master/grade_school_math/data"


class Gsm8k(DataFamily):
    """One task a row; the reference is the number after ``####``."""

    name: ClassVar[str] = "gsm8k"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="GSM8K (Cobbe et al., 2021)",
        licence="MIT",
        splits={"train": "7,473 problems", "test": "1,319 problems"},
        sources={
            split: (
                DataSource(
                    (f"gsm8k/{split}.jsonl.gz", f"gsm8k/{split}.jsonl"), f"{_ADDRESS}/{split}.jsonl", hub="openai/gsm8k"
                ),
            )
            for split in ("train", "test")
        },
        grader="number",
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        for number, line in enumerate(root.text(source).splitlines()):
            row = json.loads(line)
            _, marked, answer = row["answer"].rpartition("####")
            if not marked:
                yield Refused(f"{split}-{number}", "no answer after ####")
                continue
            yield Task(
                family=self.name,
                kind="gsm8k",
                split=split,
                group=split,
                id=f"{split}-{number}",
                prompt=row["question"],
                answer=answer.strip().replace(",", ""),
                grader="number",
            )


generate = Gsm8k()
