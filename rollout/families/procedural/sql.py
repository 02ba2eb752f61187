"""Kind ``sql``: the same questions over an sqlite database, open in the kernel as ``conn``.

Table and column names have to be read from the schema. On two in five tasks the name of the number column contains a
space and needs brackets in SQL.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from rollout.families.base import Demonstration
from rollout.families.procedural.records import DataSet, PosedQuestion, ask
from rollout.families.procedural.task_template import TaskTemplate, act, failed, propose

SCHEMA = 'print(conn.execute("SELECT sql FROM sqlite_master").fetchone()[0])'
SPOILED_SHARE = 0.4


def make(rng: Random, group: str) -> TaskTemplate:
    """A question over a database."""
    spoiled = rng.random() < SPOILED_SHARE
    asked = ask(rng, group, _spoil if spoiled else None)
    table = asked.data.theme.things + rng.choice(("", "_2024", "_list"))
    return TaskTemplate(
        key=(asked.question.name, table, asked.data.rows, tuple(asked.slots.items())),
        prompt=f"The sqlite database conn lists {asked.data.theme.things}. {asked.text}",
        answer=asked.answer,
        grader=asked.question.grader,
        expert=lambda make_mistake: _demonstrate(asked, make_mistake),
        setup=_setup(asked.data, table),
        min_cells=2,
        fails_first=spoiled,
    )


def _spoil(rng: Random, data: DataSet) -> DataSet:
    """Gives the number column a name of two words."""
    number = f"{data.concept} {rng.choice(('eur', 'now', 'sum'))}"
    columns = tuple(number if name == data.number else name for name in data.columns)
    return replace(data, number=number, columns=columns)


def _setup(data: DataSet, table: str) -> str:
    first = data.rows[0]
    kinds = ("INT" if isinstance(value, int) else "TEXT" for value in first)
    columns = ", ".join(
        f"[{name}] {kind}" if " " in name else f"{name} {kind}" for name, kind in zip(data.columns, kinds, strict=True)
    )
    marks = ", ".join("?" * len(data.columns))
    return (
        "import sqlite3\n"
        'conn = sqlite3.connect(":memory:")\n'
        f'conn.execute("CREATE TABLE {table} ({columns})")\n'
        f'conn.executemany("INSERT INTO {table} VALUES ({marks})", {list(data.rows)!r})'
    )


def _query(asked: PosedQuestion, table: str, number: str, label: str, group: str) -> str:
    value, limit = asked.slots["value"], asked.slots["limit"]
    return {
        "total": f"SELECT SUM({number}) FROM {table} WHERE {group} = '{value}'",
        "average": f"SELECT ROUND(AVG({number}), 2) FROM {table} WHERE {group} = '{value}'",
        "count": f"SELECT COUNT(*) FROM {table} WHERE {number} > {limit}",
        "highest": f"SELECT {label} FROM {table} ORDER BY {number} DESC",
    }[asked.question.name]


def _run(query: str) -> str:
    return f'print(conn.execute("{query}").fetchone()[0])'


def _demonstrate(asked: PosedQuestion, make_mistake: bool) -> Demonstration:
    theme = asked.data.theme
    words = asked.data.concept, theme.label[0], theme.group[0]
    if make_mistake:  # uses the words of the question as table and column names
        yield act("I query it.", _run(_query(asked, theme.things, *words)))
    schema = yield act("I look at the schema.", SCHEMA)
    table, columns = _parse(schema)
    number, label, group = (next(c for c in columns if word in c.lower()) for word in words)
    result = yield act(asked.question.plan, _run(_query(asked, table, number.strip("[]"), label, group)))
    if failed(result):
        query = _query(asked, table, number, label, group)
        result = yield act("A name with a space needs brackets.", _run(query))
    yield propose(result)


def _parse(schema: str) -> tuple[str, list[str]]:
    """Table name and column names out of ``CREATE TABLE t (a INT, [b c] TEXT)``."""
    head, _, body = schema.strip().rstrip(")").partition(" (")
    return head.split()[-1], [column.rsplit(" ", 1)[0] for column in body.split(", ")]
