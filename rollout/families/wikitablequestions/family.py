"""The family: a question and the beginning of its table; the whole table is in the kernel.

Source: arXiv 1508.00305. Each question is two tasks, of the kinds ``pandas`` (``df`` and ``pd``) and ``sqlite``
(``conn`` with the table ``data_table``), as in the paper (Appendix G.1).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Preset, Refused
from rollout.families.data.rows import read_members
from rollout.families.wikitablequestions.expert import demonstrate, program_for
from rollout.families.wikitablequestions.linking import Linker
from rollout.families.wikitablequestions.paper import paper_choice
from rollout.families.wikitablequestions.table import SHOWN_ROWS, Table, UnreadableTableError, read_table

KINDS = ("pandas", "sqlite")
_GITHUB = "https://raw.githubusercontent.com/ppasupat/WikiTableQuestions/master/data"
_RELEASE = (
    "https://github.com/ppasupat/WikiTableQuestions/releases/download/v1.0.2/WikiTableQuestions-1.0.2-compact.zip"
)
_TABLES = DataSource(
    ("wtq/csv_tables.tar.gz", f"wtq/{_RELEASE.rpartition('/')[2]}", "wtq/WikiTableQuestions/csv", "wtq/csv"), _RELEASE
)
_FILES = {
    "test": "pristine-unseen-tables.tsv",
    "train": "random-split-1-train.tsv",
    "dev": "random-split-1-dev.tsv",
    "training": "training.tsv",
}
_ACCESS = {
    "pandas": "The table is loaded as the DataFrame `df`; pandas is imported as `pd`.",
    "sqlite": "The table is loaded as `data_table` into a sqlite database; `conn` is the open sqlite3 connection.",
}
_IN_CSV = re.compile(r"(?:^|/)csv/")
_PROMPT = """Answer a question about a table with {rows} rows. {first}:
{head}

{access}
Question: {question}
Answer with the value, or with a Python list of values when there are several."""


def _questions(split: str) -> DataSource:
    name = _FILES[split]
    return DataSource((f"wtq/{name}.gz", f"wtq/{name}", f"wtq/WikiTableQuestions/data/{name}"), f"{_GITHUB}/{name}")


class WikiTableQuestions(DataFamily):
    """Two tasks a question; the reference is a JSON list of the denotation's values."""

    name: ClassVar[str] = "wikitablequestions"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="WikiTableQuestions 1.0.2 (Pasupat and Liang, 2015)",
        licence="CC BY-SA 4.0",
        splits={
            "test": "4,344 questions over unseen tables, the official test",
            "train": "11,321 questions of random split 1",
            "dev": "2,831 questions of random split 1",
            "training": "14,152 questions: train and dev together",
        },
        sources={split: (_questions(split), _TABLES) for split in _FILES},
        grader="denotation",
        defects=(
            "The csv files escape quotes with a backslash: pandas.read_csv fails on 81 of the 2,108 tables and gives "
            "20 a wrong size. Ours reads all of them.",
            "pandas.read_csv merges four rows of training.tsv at a stray quote (14,149 of 14,152 questions) and reads "
            "the answer `None` as a missing value. Ours splits at tabs.",
            "The reference shows the first rows elided; ours shows every column.",
            "Headers repeat (89 tables), are empty (57) or hold line breaks (312): columns are named x.1, column_3 and "
            "on one line.",
            "pandas reads NA, None and nan as missing and 007 as 7; ours reads only empty cells as missing.",
        ),
        presets={
            "paper": Preset(
                "training",
                3000,
                "The questions with the largest tables (rows, then columns), shuffled with seed 42 as pandas shuffles, "
                "the first half in sqlite and the second in pandas, shuffled with seed 42. Where pandas cannot read a "
                "table (81 of 2,108) the paper read its size from a file in another form; the true size stands for it.",
            )
        },
    )

    def __init__(self) -> None:
        self._expert = False

    def with_options(self, options: Mapping[str, Any]) -> WikiTableQuestions:
        """``expert: true`` keeps the questions that the scripted expert tries, and gives it to them."""
        if set(options) != {"expert"} or not isinstance(options["expert"], bool):
            raise ValueError(f"tasks.options: {dict(options)!r} does not fit wikitablequestions; write expert: true")
        family = copy(self)
        family._expert = options["expert"]
        return family

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        lines = _lines(root.text(_questions(split)))
        chosen = [(line, kind) for line in lines for kind in KINDS]
        return self._tasks(split, chosen, _Tables(root.find(_TABLES)))

    def read_preset(self, preset: str, root: DataRoot) -> Iterator[Task | Refused]:
        """The paper's choice, see :mod:`rollout.families.wikitablequestions.paper`."""
        split, count = self.info.presets[preset].split, self.info.presets[preset].count
        text, tables = root.text(_questions(split)), _Tables(root.find(_TABLES))
        lines = {line.partition("\t")[0]: line for line in _lines(text)}
        read = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
        rows = [row[:3] for row in read if len(row) > 2 and row[0] in lines]
        return self._tasks(split, [(lines[name], kind) for name, kind in paper_choice(rows, tables, count)], tables)

    def _tasks(self, split: str, chosen: list[tuple[str, str]], tables: Mapping[str, str]) -> Iterator[Task | Refused]:
        """The tasks of lines of a file of questions, each with a kind."""
        made: dict[str, _Prepared] = {}
        for line, kind in chosen:
            name, question, file, target = (line.split("\t") + [""] * 4)[:4]
            answer = [_unescape(value) for value in target.split("|")]
            question = _unescape(question)
            if not question or not any(answer):
                yield Refused(f"{name}-{kind}", "no answer" if question else "no question")
                continue
            try:
                if file not in made:
                    made[file] = _Prepared(read_table(tables[file]))
            except (KeyError, UnreadableTableError) as fault:
                yield Refused(f"{name}-{kind}", "no table" if isinstance(fault, KeyError) else "unreadable table")
                continue
            task = made[file].task(split, name, question, kind, answer)
            if not self._expert:
                yield task
            elif (program := program_for(question, made[file].linker)) is not None:
                yield replace(task, expert=partial(demonstrate, program, kind))


@dataclass(frozen=True)
class _Prepared:
    """A table with its texts, which are made once for all of its questions."""

    table: Table

    @cached_property
    def head(self) -> str:
        return self.table.head()

    @cached_property
    def setups(self) -> dict[str, str]:
        return {"pandas": self.table.pandas_setup(), "sqlite": self.table.sqlite_setup()}

    @cached_property
    def linker(self) -> Linker:
        return Linker(self.table)

    def task(self, split: str, name: str, question: str, kind: str, answer: list[str]) -> Task:
        """The task of a question in one kind."""
        rows = len(self.table.rows)
        first = "Its first 5 rows" if rows > SHOWN_ROWS else "They are"
        return generate.task(
            split,
            f"{name}-{kind}",
            prompt=_PROMPT.format(rows=rows, first=first, head=self.head, access=_ACCESS[kind], question=question),
            answer=answer,
            kind=kind,
            setup=self.setups[kind],
        )


class _Tables(Mapping[str, str]):
    """The csv files by their name in a question, such as ``csv/204-csv/590.csv``."""

    def __init__(self, path: Path) -> None:
        self._folder = path if path.is_dir() else None
        members = [] if path.is_dir() else _zipped(path) if path.suffix == ".zip" else read_members(path)
        self._texts = {f"csv/{_IN_CSV.split(name)[-1]}": content for name, content in members}

    def __getitem__(self, name: str) -> str:
        if self._folder is None:
            return self._texts[name].decode()
        try:
            return (self._folder.parent / name).read_bytes().decode()
        except OSError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".csv"):
                yield name, archive.read(name)


def _lines(text: str) -> list[str]:
    """The lines of a file of questions, without its header."""
    return [line for line in text.replace("\r\n", "\n").split("\n")[1:] if line]


def _unescape(value: str) -> str:
    """A field of the release's TSV files: ``\\n``, ``\\p`` (a vertical bar) and ``\\\\``."""
    parts = value.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace("\\p", "|") for part in parts)


generate = WikiTableQuestions()
