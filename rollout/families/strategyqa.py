"""StrategyQA: yes-or-no questions that need several facts (arXiv 2101.02235)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused

_ADDRESS = (
    "https://raw.githubusercontent.com/eladsegal/strategyqa/1ba1e97452e189569357876f2854b01357ffbe37/data/strategyqa"
)
_SHA256 = {
    "train": "0f72560b8a6fad3db847d2f1a7524fb087297843bb45a8d3245ffd68cbe0de12",
    "dev": "0d94842ffb022db8fd5ecd2168b785d5cf67f6faf64f665476bad544a3eb9dde",
}


class StrategyQA(DataFamily):
    """The model gets the question alone, without the facts."""

    name: ClassVar[str] = "strategyqa"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="StrategyQA (Geva et al., 2021)",
        licence="MIT",
        splits={"train": "2,061 questions", "dev": "229 questions"},
        sources={
            split: (
                DataSource(
                    (f"strategyqa/{split}.jsonl.gz", f"strategyqa/{split}.jsonl", f"strategyqa/{split}.json"),
                    f"{_ADDRESS}/{split}.json",
                    _SHA256[split],
                ),
            )
            for split in ("train", "dev")
        },
        grader="yes_no",
        defects=(
            "The paper collected 2,290 tasks and dropped every episode before training, since a guess is right half "
            "of the time. It is not part of the paper's data here either; use it to evaluate.",
            "The reference finds `no` inside other words of an answer; `yes_no` reads whole words.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        for row in root.rows(source):
            if not isinstance(row.get("answer"), bool):
                yield Refused(row["qid"], "no answer")
                continue
            yield self.task(
                split,
                row["qid"],
                prompt=f"{row['question'].strip()}\n\nAnswer with yes or no.",
                answer="yes" if row["answer"] else "no",
            )


generate = StrategyQA()
