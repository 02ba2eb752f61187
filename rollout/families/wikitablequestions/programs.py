"""Small programs over a table, written as a pandas or a sqlite cell.

Contract: a :data:`Program` is a value; :func:`write` makes the cell that prints its result, for the kinds ``pandas``
and ``sqlite``. Numbers are read out of texts such as ``1,234 points``; rows without a number do not take part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rollout.families.wikitablequestions.table import Cell, quoted

Operator = Literal["==", "in", ">", "<", ">=", "<=", "contains"]


@dataclass(frozen=True)
class Where:
    """A condition on one column: equality, one of several values, a part of a text, or a comparison of numbers."""

    column: str
    operator: Operator
    value: Cell | tuple[Cell, ...]


@dataclass(frozen=True)
class Select:
    """Rows, in the order of the table: all that meet every condition."""

    where: tuple[Where, ...] = ()


@dataclass(frozen=True)
class Count:
    """The number of rows, or of different values of a column."""

    rows: Select
    distinct: str | None = None


@dataclass(frozen=True)
class Pick:
    """The value of a column in the first row, in the last, or the different values of all rows."""

    column: str
    rows: Select
    place: Literal["first", "last", "all"] = "all"


@dataclass(frozen=True)
class Top:
    """The value of ``column`` in the row with the largest (or smallest) number in ``by``."""

    column: str
    by: str
    largest: bool = True
    rows: Select = field(default_factory=Select)


@dataclass(frozen=True)
class Common:
    """The most (or least) frequent value of a column."""

    column: str
    most: bool = True
    rows: Select = field(default_factory=Select)


@dataclass(frozen=True)
class Neighbour:
    """The value of ``column`` so many rows below the first row that meets a condition (above it: negative)."""

    column: str
    row: Where
    step: int


@dataclass(frozen=True)
class Fold:
    """Sum, mean, largest or smallest of the numbers in a column."""

    column: str
    how: Literal["sum", "mean", "max", "min"]
    rows: Select = field(default_factory=Select)


@dataclass(frozen=True)
class Difference:
    """The distance between the numbers of a column in two rows."""

    column: str
    one: Where
    other: Where


Program = Count | Pick | Top | Common | Neighbour | Fold | Difference

_NUMBER = """import re
def number(value):
    found = re.search(r"-?\\d+(?:\\.\\d+)?", re.sub(r"(?<=\\d),(?=\\d\\d\\d)", "", str(value)))
    return float(found[0]) if found else None
"""


def write(program: Program, kind: str) -> str:
    """The cell that prints the result: one value, or a list of several."""
    return _Pandas().cell(program) if kind == "pandas" else _Sqlite().cell(program)


class _Pandas:
    def cell(self, program: Program) -> str:
        body = getattr(self, f"_{type(program).__name__.lower()}")(program)
        return f"{_NUMBER if 'number' in body else ''}{body}"

    def _rows(self, rows: Select, name: str = "df") -> str:
        return "".join([name, *(f"[{self._test(where, name)}]" for where in rows.where[:1]), *self._more(rows)])

    def _more(self, rows: Select) -> list[str]:
        return [f"[lambda rows: {self._test(where, 'rows')}]" for where in rows.where[1:]]

    def _test(self, where: Where, name: str) -> str:
        column = f"{name}[{where.column!r}]"
        if where.operator == "contains":
            return f"{column}.astype(str).str.contains({str(where.value)!r}, case=False, regex=False)"
        if where.operator == "in":
            return f"{column}.isin({where.value!r})"
        if where.operator == "==":
            return f"{column} == {where.value!r}"
        return f"{column}.map(number) {where.operator} {where.value!r}"

    def _count(self, program: Count) -> str:
        rows = self._rows(program.rows)
        return f"print({rows}[{program.distinct!r}].nunique())" if program.distinct else f"print(len({rows}))"

    def _pick(self, program: Pick) -> str:
        values = f"values = {self._rows(program.rows)}[{program.column!r}].dropna().tolist()"
        if program.place != "all":
            return f"{values}\nprint(values[{0 if program.place == 'first' else -1}])"
        return f"{values}\nvalues = list(dict.fromkeys(values))\nprint(values[0] if len(values) == 1 else values)"

    def _top(self, program: Top) -> str:
        order = "idxmax" if program.largest else "idxmin"
        return (
            f"rows = {self._rows(program.rows)}\n"
            f"print(rows.loc[rows[{program.by!r}].map(number).{order}(), {program.column!r}])"
        )

    def _common(self, program: Common) -> str:
        order = "idxmax" if program.most else "idxmin"
        return f"print({self._rows(program.rows)}[{program.column!r}].value_counts(sort=False).{order}())"

    def _neighbour(self, program: Neighbour) -> str:
        found = f"place = df.index[{self._test(program.row, 'df')}][0]"
        return f"{found}\nprint(df.loc[place + {program.step}, {program.column!r}])"

    def _fold(self, program: Fold) -> str:
        return f"print({self._rows(program.rows)}[{program.column!r}].map(number).{program.how}())"

    def _difference(self, program: Difference) -> str:
        sides = (self._rows(Select((where,))) for where in (program.one, program.other))
        one, other = (f"number({rows}[{program.column!r}].iloc[0])" for rows in sides)
        return f"one = {one}\nother = {other}\nprint(abs(one - other))"


class _Sqlite:
    def cell(self, program: Program) -> str:
        query, values = getattr(self, f"_{type(program).__name__.lower()}")(program)
        number = f'{_NUMBER}conn.create_function("number", 1, number)\n' if "number(" in query else ""
        run = f"values = [row[0] for row in conn.execute({query!r}, {values!r})]"
        return f"{number}{run}\nprint(values[0] if len(values) == 1 else values)"

    def _rows(self, rows: Select, *more: str) -> tuple[str, tuple[Cell, ...]]:
        tests = [self._test(where) for where in rows.where]
        given = tuple(value for _, values in tests for value in values)
        texts = [*(text for text, _ in tests), *more]
        return "FROM data_table" + (f" WHERE {' AND '.join(texts)}" if texts else ""), given

    def _test(self, where: Where) -> tuple[str, tuple[Cell, ...]]:
        column = quoted(where.column)
        values = where.value if isinstance(where.value, tuple) else (where.value,)
        if where.operator == "contains":
            return f"instr(lower({column}), lower(?)) > 0", values
        if where.operator in ("==", "in"):
            return f"{column} IN ({', '.join('?' * len(values))})", values
        return f"number({column}) {where.operator} ?", values

    def _count(self, program: Count) -> tuple[str, tuple[Cell, ...]]:
        rows, values = self._rows(program.rows)
        counted = f"DISTINCT {quoted(program.distinct)}" if program.distinct else "*"
        return f"SELECT count({counted}) {rows}", values

    def _pick(self, program: Pick) -> tuple[str, tuple[Cell, ...]]:
        column = quoted(program.column)
        rows, values = self._rows(program.rows, f"{column} IS NOT NULL")
        if program.place == "all":
            return f"SELECT {column} {rows} GROUP BY {column} ORDER BY min(rowid)", values
        return f"SELECT {column} {rows} ORDER BY rowid {'ASC' if program.place == 'first' else 'DESC'} LIMIT 1", values

    def _top(self, program: Top) -> tuple[str, tuple[Cell, ...]]:
        by = f"number({quoted(program.by)})"
        rows, values = self._rows(program.rows, f"{by} IS NOT NULL")
        order = "DESC" if program.largest else "ASC"
        return f"SELECT {quoted(program.column)} {rows} ORDER BY {by} {order}, rowid LIMIT 1", values

    def _common(self, program: Common) -> tuple[str, tuple[Cell, ...]]:
        column = quoted(program.column)
        rows, values = self._rows(program.rows, f"{column} IS NOT NULL")
        order = "DESC" if program.most else "ASC"
        return f"SELECT {column} {rows} GROUP BY {column} ORDER BY count(*) {order}, min(rowid) LIMIT 1", values

    def _neighbour(self, program: Neighbour) -> tuple[str, tuple[Cell, ...]]:
        rows, values = self._rows(Select((program.row,)))
        place = f"(SELECT min(rowid) {rows}) + {program.step}"
        return f"SELECT {quoted(program.column)} FROM data_table WHERE rowid = {place}", values

    def _fold(self, program: Fold) -> tuple[str, tuple[Cell, ...]]:
        rows, values = self._rows(program.rows)
        how = "avg" if program.how == "mean" else program.how
        return f"SELECT {how}(number({quoted(program.column)})) {rows}", values

    def _difference(self, program: Difference) -> tuple[str, tuple[Cell, ...]]:
        (one, first), (other, second) = (self._rows(Select((where,))) for where in (program.one, program.other))
        column = f"number({quoted(program.column)})"
        sides = (f"(SELECT {column} {rows} ORDER BY rowid LIMIT 1)" for rows in (one, other))
        return f"SELECT abs({' - '.join(sides)})", first + second
