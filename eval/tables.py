"""Tables as values, and their text in Markdown, LaTeX, CSV and JSON.

Contract: a :class:`Table` holds numbers; rounding happens here, to one decimal for floats, and not in JSON and CSV.
A missing value is ``–``, an empty field in CSV, ``null`` in JSON. It reads and writes no file.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Cell = str | int | float | None
TableForm = Literal["markdown", "latex", "csv", "json"]
_LATEX = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "–": "--",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A title, columns, rows of as many cells, and sentences below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = field(default=())


def render_tables(tables: Sequence[Table], form: TableForm) -> str:
    """The text of tables. CSV of one table has its columns; of several it has a line for each cell.

    Raises:
        ValueError: there is no table.
    """
    if not tables:
        raise ValueError("there is no table to show; measure a benchmark first")
    if form == "json":
        return json.dumps([_as_json(table) for table in tables], indent=1, ensure_ascii=False) + "\n"
    if form == "csv":
        return _csv(tables)
    text = _markdown if form == "markdown" else _latex
    return "\n".join(text(table) for table in tables)


def shown(cell: Cell) -> str:
    """A cell as people read it."""
    if cell is None:
        return "–"
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)


def _as_json(table: Table) -> dict[str, object]:
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return {"title": table.title, "rows": rows, "notes": list(table.notes)}


def _csv(tables: Sequence[Table]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if len(tables) == 1:
        writer.writerow(tables[0].columns)
        writer.writerows(tables[0].rows)
        return text.getvalue()
    writer.writerow(("table", "row", "column", "value"))
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns[1:], row[1:], strict=True):
                writer.writerow((table.title, row[0], column, cell))
    return text.getvalue()


def _markdown(table: Table) -> str:
    lines = [
        f"## {table.title}",
        "",
        _line(table.columns),
        "|".join(["", "---", *["--:"] * (len(table.columns) - 1), ""]),
    ]
    lines += [_line([shown(cell) for cell in row]) for row in table.rows]
    notes = [f"\n{note}" for note in table.notes]
    return "\n".join([*lines, *notes, ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


def _latex(table: Table) -> str:
    body = [" & ".join(_escaped(shown(cell)) for cell in row) + r" \\" for row in table.rows]
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escaped(table.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        " & ".join(map(_escaped, table.columns)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *[rf"\par {_escaped(note)}" for note in table.notes],
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return re.sub(r"[&%$#_{}~^\\–]", lambda found: _LATEX[found[0]], text)
