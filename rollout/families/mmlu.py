"""MMLU: multiple-choice questions of 57 subjects (arXiv 2009.03300)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused, mint_source

_LETTERS = "ABCDEFGHIJ"
_OPTION = re.compile(r"(?:^|\s)([A-J]) \) ")


class Mmlu(DataFamily):
    """The kind is the subject. The answer holds the letter and the options, so that either is accepted."""

    name: ClassVar[str] = "mmlu"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="MMLU (Hendrycks et al., 2021)",
        licence="MIT",
        splits={
            "dev": "285 questions, 5 a subject, used as examples",
            "val": "1,531 questions",
            "test": "14,042 questions",
            "mint": "76 questions of `test` that MINT uses",
        },
        sources={
            split: (
                DataSource(
                    ("mmlu/mmlu_test_dev_val.tar.gz", "mmlu/data.tar", "mmlu/data", "mmlu"),
                    url="https://people.eecs.berkeley.edu/~hendrycks/data.tar",
                    hub="cais/mmlu",
                    hub_config="all",
                    hub_split="validation" if split == "val" else split,
                ),
            )
            for split in ("dev", "val", "test")
        }
        | {"mint": (mint_source("mmlu"),)},
        grader="choice",
        defects=(
            "13 questions have the same text for two options. They are kept: letters still differ, and an answer that "
            "gives the text of the right option is right.",
            "The paper's evaluation compares the first token after the prompt; `choice` reads the usual forms of an "
            "answer.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        (source,) = self.info.sources[split]
        if split == "mint":
            for row in root.rows(source):
                question, _, listed = row["prompt"].rpartition("\nOptions: ")
                yield self._task(split, str(row["id"]), "mint", question, split_options(listed), row["reference"])
            return
        if root.find(source).suffix == ".parquet":
            for number, row in enumerate(root.rows(source)):
                letter = _LETTERS[row["answer"]]
                name = f"{split}-{row['subject']}-{number}"
                yield self._task(split, name, row["subject"], row["question"], row["choices"], letter)
            return
        for name, content in root.members(source):
            folder, _, file = name.rpartition("/")
            if folder.rpartition("/")[2] != split or not file.endswith(".csv"):
                continue
            subject = file.removesuffix(".csv").removesuffix(f"_{split}")
            for number, cells in enumerate(csv.reader(io.StringIO(content.decode("utf-8")))):
                task = f"{split}-{subject}-{number}"
                if len(cells) < 4 or cells[-1].strip() not in tuple(_LETTERS[: len(cells) - 2]):
                    yield Refused(task, "no letter of an option as the answer")
                    continue
                yield self._task(split, task, subject, cells[0], cells[1:-1], cells[-1].strip())

    def _task(self, split: str, name: str, kind: str, question: str, options: list[str], letter: str) -> Task:
        listed = "\n".join(f"{letter}) {option}" for letter, option in zip(_LETTERS, options, strict=False))
        return self.task(
            split,
            name,
            kind=kind,
            prompt=f"{question}\n\nChoose one option:\n{listed}",
            answer={"letter": letter.lower(), "options": options},
        )


def split_options(listed: str) -> list[str]:
    """The options of a line such as ``A ) 12 , B ) 22``; the letters must come in order."""
    options: list[str] = []
    at = 0
    for match in _OPTION.finditer(listed):
        if match.group(1) == _LETTERS[len(options)]:
            if options:
                options[-1] = listed[at : match.start()].strip().removesuffix(",").strip()
            options.append("")
            at = match.end()
    if options:
        options[-1] = listed[at:].strip()
    return options


generate = Mmlu()
