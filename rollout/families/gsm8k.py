"""GSM8K: grade-school word problems with one number as the answer (arXiv 2110.14168)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused, mint_source

_ADDRESS = (
    "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/"
    "grade_school_math/data"
)
_SHA256 = {
    "train": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    "test": "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
}


class Gsm8k(DataFamily):
    """One task a row; the reference is the number after ``####``."""

    name: ClassVar[str] = "gsm8k"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="GSM8K (Cobbe et al., 2021)",
        licence="MIT",
        splits={"train": "7,473 problems", "test": "1,319 problems", "mint": "48 problems of `test` that MINT uses"},
        sources={
            split: (
                DataSource(
                    (
                        f"gsm8k/{split}.jsonl.gz",
                        f"gsm8k/{split}.jsonl",
                        f"gsm8k/main/{split}-*.parquet",
                        f"gsm8k/{split}",
                    ),
                    f"{_ADDRESS}/{split}.jsonl",
                    _SHA256[split],
                    hub="openai/gsm8k",
                    hub_config="main",
                    hub_split=split,
                ),
            )
            for split in ("train", "test")
        }
        | {"mint": (mint_source("gsm8k"),)},
        grader="number",
        graders={"mint": "short_answer"},
        defects=(
            "The paper's evaluation reads the last run of digits, so decimals, signs and thousands commas are misread; "
            "`number` reads all three.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        for number, row in enumerate(root.rows(source)):
            if split == "mint":
                name, question, answer = str(row["id"]), row["prompt"].strip(), row["reference"]
            else:
                name, question = f"{split}-{number}", row["question"]
                answer = row["answer"].rpartition("####")[2] if "####" in row["answer"] else ""
            if not answer.strip():
                yield Refused(name, "no answer after ####")
                continue
            yield self.task(
                split,
                name,
                prompt=question,
                answer=answer.strip().replace(",", ""),
            )


generate = Gsm8k()
