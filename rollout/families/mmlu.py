"""MMLU: multiple-choice questions of 57 subjects (arXiv 2009.03300)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused, mint_source

_LETTERS = "ABCDEFGHIJ"
_MOST_SHOTS = 5
_OPTION = re.compile(r"(?:^|\s)([A-J]) \) ")


@dataclass(frozen=True)
class _Question:
    """A row: id, subject, question, options, and the letter of the right one, in upper case but in `mint`."""

    name: str
    subject: str
    question: str
    options: list[str]
    letter: str


class Mmlu(DataFamily):
    """The kind is the subject. The answer holds the letter and the options, so that either is accepted.

    With the option ``shots`` the prompt is that of the benchmark, and the task has the letters as its choices.
    """

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
            "answer. The benchmark `mmlu` compares log-probabilities, with `options: {shots: 5}`.",
        ),
    )

    def __init__(self) -> None:
        self._shots = 0

    def with_options(self, options: Mapping[str, Any]) -> Mmlu:
        """``shots: 5`` writes the benchmark's prompt: five solved questions of the subject, from `dev`, come first."""
        shots = options.get("shots")
        if set(options) != {"shots"} or type(shots) is not int or not 1 <= shots <= _MOST_SHOTS:
            raise ValueError(f"tasks.options: {dict(options)!r} does not fit mmlu; write shots: 5, at most 5")
        family = copy(self)
        family._shots = shots
        return family

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        if self._shots:
            yield from self._with_shots(split, root)
            return
        for row in self._rows(split, root):
            yield row if isinstance(row, Refused) else self._task(split, row)

    def _with_shots(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        if split == "mint":
            raise ValueError("tasks.options: mint has no solved questions; take shots out, or another split")
        solved: dict[str, list[str]] = {}
        for row in self._rows("dev", root):
            if not isinstance(row, Refused):
                solved.setdefault(row.subject, []).append(f"{_asked(row)} {row.letter}\n\n")
        for row in self._rows(split, root):
            if isinstance(row, Refused):
                yield row
            elif len(solved.get(row.subject, ())) < self._shots:
                yield Refused(row.name, "too few solved questions of the subject in dev")
            else:
                yield self._shot_task(split, row, solved[row.subject][: self._shots])

    def _shot_task(self, split: str, row: _Question, solved: list[str]) -> Task:
        """A task whose prompt is plain text, to be continued by a space and a letter."""
        about = row.subject.replace("_", " ")
        head = f"The following are multiple choice questions (with answers) about {about}.\n\n"
        return self.task(
            split,
            row.name,
            kind=row.subject,
            prompt="".join([head, *solved, _asked(row)]),
            answer={"letter": row.letter.lower(), "options": row.options},
            solution=row.letter,
            choices=tuple(f" {letter}" for letter in _LETTERS[: len(row.options)]),
        )

    def _rows(self, split: str, root: DataRoot) -> Iterator[_Question | Refused]:
        """The questions of a split, in the order of its files."""
        (source,) = self.info.sources[split]
        if split == "mint":
            for row in root.rows(source):
                question, _, listed = row["prompt"].rpartition("\nOptions: ")
                yield _Question(str(row["id"]), "mint", question, split_options(listed), row["reference"])
        elif root.find(source).suffix == ".parquet":
            for number, row in enumerate(root.rows(source)):
                name, letter = f"{split}-{row['subject']}-{number}", _LETTERS[row["answer"]]
                yield _Question(name, row["subject"], row["question"], row["choices"], letter)
        else:
            yield from _csv_rows(split, root.members(source))

    def _task(self, split: str, row: _Question) -> Task:
        return self.task(
            split,
            row.name,
            kind=row.subject,
            prompt=f"{row.question}\n\nChoose one option:\n{_listed(row.options, ')')}",
            answer={"letter": row.letter.lower(), "options": row.options},
        )


def _csv_rows(split: str, members: Iterable[tuple[str, bytes]]) -> Iterator[_Question | Refused]:
    """The rows of the original's files, one a subject and split."""
    for name, content in members:
        folder, _, file = name.rpartition("/")
        if folder.rpartition("/")[2] != split or not file.endswith(".csv"):
            continue
        subject = file.removesuffix(".csv").removesuffix(f"_{split}")
        for number, cells in enumerate(csv.reader(io.StringIO(content.decode("utf-8")))):
            task = f"{split}-{subject}-{number}"
            if len(cells) < 4 or cells[-1].strip() not in tuple(_LETTERS[: len(cells) - 2]):
                yield Refused(task, "no letter of an option as the answer")
                continue
            yield _Question(task, subject, cells[0], cells[1:-1], cells[-1].strip())


def _listed(options: Sequence[str], sign: str) -> str:
    return "\n".join(f"{letter}{sign} {option}" for letter, option in zip(_LETTERS, options, strict=False))


def _asked(row: _Question) -> str:
    """A question in the form of the benchmark's prompt, up to its answer."""
    return f"{row.question}\n{_listed(row.options, '.')}\nAnswer:"


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
