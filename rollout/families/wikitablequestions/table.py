"""Tables of WikiTableQuestions: reading their csv files, and showing and loading them.

Contract: :func:`read_table` gives a rectangular table with different column names (also when case is ignored, as
sqlite does) and one type a column. It reads the release's files, which escape quotes with a backslash, and files with
doubled quotes.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

Cell = int | float | str | None
SHOWN_ROWS = 5
SHOWN_CHARS = 300
"""Longest cell that is shown; of a longer one the beginning."""
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d{0,15})?\.\d{1,15}")


class UnreadableTableError(ValueError):
    """A file is no table."""


@dataclass(frozen=True)
class Table:
    """Column names and rows. A column holds integers, or numbers, or texts; None is an empty cell."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def head(self) -> str:
        """The first rows with every column, as lines with ``|`` between cells."""
        lines = [self.columns, *self.rows[:SHOWN_ROWS]]
        return "\n".join("| " + " | ".join(map(_shown, line)) + " |" for line in lines)

    def pandas_setup(self) -> str:
        """Code that makes ``df`` (and imports ``pd``)."""
        values = {name: [row[place] for row in self.rows] for place, name in enumerate(self.columns)}
        return f"import pandas as pd\ndf = pd.DataFrame({values!r})"

    def sqlite_setup(self, name: str = "data_table") -> str:
        """Code that makes ``conn``, a connection to a database in memory with this table."""
        return sqlite_setup(name, [(column, self._type(place)) for place, column in enumerate(self.columns)], self.rows)

    def _type(self, place: int) -> str:
        kinds = {type(row[place]) for row in self.rows} - {type(None)}
        return "INTEGER" if kinds == {int} else "REAL" if kinds and kinds <= {int, float} else "TEXT"


def sqlite_setup(name: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Cell]]) -> str:
    """Code that makes ``conn`` with one table of ``columns`` (name and type) and ``rows``."""
    create = f"CREATE TABLE {quoted(name)} ({', '.join(f'{quoted(column)} {kind}' for column, kind in columns)})"
    insert = f"INSERT INTO {quoted(name)} VALUES ({', '.join('?' * len(columns))})"
    lines = ["import sqlite3", 'conn = sqlite3.connect(":memory:")', f"conn.execute({create!r})"]
    lines += [f"conn.executemany({insert!r}, {[tuple(row) for row in rows]!r})", "conn.commit()"]
    return "\n".join(lines)


def quoted(name: str) -> str:
    """A name as SQL spells it."""
    return '"' + name.replace('"', '""') + '"'


def read_table(text: str) -> Table:
    """The table of a csv file.

    Raises:
        UnreadableTableError: the file is empty, or its rows have different lengths however its quotes are read.
    """
    backslashes = '\\"' in text or "\\\\" in text
    for escaped in (backslashes, not backslashes):
        rows = _parsed(text, escaped)
        if rows and len({len(row) for row in rows}) == 1:
            columns = distinct_names(rows[0])
            values = [_typed(cells) for cells in zip(*rows[1:], strict=True)]
            return Table(columns, tuple(zip(*values, strict=True)) if values else ())
    raise UnreadableTableError("rows of different lengths")


def _parsed(text: str, escaped: bool) -> list[list[str]]:
    file = io.StringIO(text, newline="")
    try:
        escape = "\\" if escaped else None
        lines = list(csv.reader(file, doublequote=not escaped, escapechar=escape, strict=True))
    except csv.Error:
        return []
    return [[cell.replace("\xa0", " ").strip() for cell in line] for line in lines if line]


def distinct_names(header: Sequence[str]) -> tuple[str, ...]:
    """Spaces for line breaks, ``column_3`` for an empty name, ``x.1`` for the second ``x``, as pandas counts."""
    names: list[str] = []
    taken: set[str] = set()
    for place, title in enumerate(header):
        plain = " ".join(title.split()) or f"column_{place + 1}"
        name, number = plain, 0
        while name.casefold() in taken:
            number += 1
            name = f"{plain}.{number}"
        taken.add(name.casefold())
        names.append(name)
    return tuple(names)


def _typed(cells: Sequence[str]) -> list[Cell]:
    """Numbers when every cell with a text is a plain one. ``007``, ``1,234`` and ``n/a`` are texts."""
    filled = [cell for cell in cells if cell]
    kind: type = str
    if filled and all(map(_INTEGER.fullmatch, filled)):
        kind = int
    elif filled and all(_INTEGER.fullmatch(cell) or _DECIMAL.fullmatch(cell) for cell in filled):
        kind = float
    return [kind(cell) if cell else None for cell in cells]


def _shown(cell: Cell) -> str:
    text = "" if cell is None else str(cell).replace("\n", "\\n")
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"
