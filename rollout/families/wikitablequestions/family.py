"""The family: a question and the beginning of its table; the whole table is in the kernel.

Source: arXiv 1508.00305. Each question is two tasks, of the kinds ``pandas`` (``df`` and ``pd``) and ``sqlite``
(``conn`` with the table ``data_table``), as in the paper (Appendix G.1).
"""

from __future__ import annotations

import csv
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused
from rollout.families.wikitablequestions.paper import paper_choice
from rollout.families.wikitablequestions.table import Table, UnreadableTableError, read_table

KINDS = ("pandas", "sqlite")
_GITHUB = "https://raw.githubusercontent.com/ppasupat/WikiTableQuestions/master/data"
_RELEASE = (
    "https://github.com/ppasupat/WikiTableQuestions/releases/download/v1.0.2/WikiTableQuestions-1.0.2-compact.zip"
)
_TABLES = DataSource(("wtq/csv_tables.tar.gz", "wtq/WikiTableQuestions/csv", "wtq/csv"), _RELEASE)
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
            "paper": "of `training`: the 3,000 questions with the largest tables, shuffled with seed 42, the first "
            "half in sqlite and the second in pandas, shuffled with seed 42"
        },
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        lines = root.text(_questions(split)).splitlines()[1:]
        chosen = [(line, kind) for line in lines for kind in KINDS]
        return _tasks(split, chosen, _Tables(root.find(_TABLES)))

    def read_preset(self, preset: str, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        """The paper's choice, see :mod:`rollout.families.wikitablequestions.paper`."""
        if split != "training":
            raise ValueError(f"tasks.split: the preset {preset!r} chooses from training.tsv; write training")
        text, tables = root.text(_questions(split)), _Tables(root.find(_TABLES))
        lines = {line.partition("\t")[0]: line for line in text.splitlines()[1:]}
        chosen = paper_choice(
            [row[:3] for row in csv.reader(text.splitlines(keepends=True)[1:], delimiter="\t")], tables
        )
        return _tasks(split, [(lines[name], kind) for name, kind in chosen], tables)


class _Tables(Mapping[str, str]):
    """The csv files by their name in a question, such as ``csv/204-csv/590.csv``."""

    def __init__(self, path: Path) -> None:
        self._folder = path if path.is_dir() else None
        self._texts: dict[str, str] = {}
        if self._folder is None:
            with tarfile.open(path) as archive:
                members = [member for member in archive if member.isfile()]
                self._texts = {member.name: archive.extractfile(member).read().decode() for member in members}  # type: ignore[union-attr]

    def __getitem__(self, name: str) -> str:
        if self._folder is None:
            return self._texts[name]
        try:
            return (self._folder.parent / name).read_bytes().decode()
        except OSError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def _tasks(split: str, chosen: list[tuple[str, str]], tables: Mapping[str, str]) -> Iterator[Task | Refused]:
    """The tasks of lines of a file of questions, each with a kind. A table's texts are made once."""
    made: dict[tuple[str, str], tuple[str, str, Table]] = {}
    for line, kind in chosen:
        name, question, file, target = (line.split("\t") + [""] * 4)[:4]
        try:
            answer = [_unescape(value) for value in target.split("|")] if target else []
            if not question or not any(answer):
                yield Refused(f"{name}-{kind}", "no answer" if question else "no question")
                continue
            if (file, kind) not in made:
                table = read_table(tables[file])
                made[file, kind] = (table.head(), getattr(table, f"{kind}_setup")(), table)
        except (KeyError, UnreadableTableError) as fault:
            yield Refused(f"{name}-{kind}", "no table" if isinstance(fault, KeyError) else "unreadable table")
            continue
        head, setup, table = made[file, kind]
        yield Task(
            family=WikiTableQuestions.name,
            kind=kind,
            split=split,
            group=split,
            id=f"{name}-{kind}",
            prompt=_prompt(_unescape(question), kind, head, table),
            answer=json.dumps(answer, ensure_ascii=False),
            grader=WikiTableQuestions.info.grader,
            setup=setup,
        )


def _prompt(question: str, kind: str, head: str, table: Table) -> str:
    first = "Its first 5 rows" if len(table.rows) > 5 else "They are"
    return _PROMPT.format(rows=len(table.rows), first=first, head=head, access=_ACCESS[kind], question=question)


def _unescape(value: str) -> str:
    """A field of the release's TSV files: ``\\n``, ``\\p`` (a vertical bar) and ``\\\\``."""
    parts = value.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace("\\p", "|") for part in parts)


generate = WikiTableQuestions()
