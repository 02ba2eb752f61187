"""Kind ``table``: questions over a pandas data frame ``df`` that is already in the kernel.

On two in five tasks the number column holds an entry that is not a number, below the first rows: plain
arithmetic raises, and the column has to be converted first.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from rollout.families.base import Demonstration
from rollout.families.procedural.records import Asked, DataSet, ask, find_column
from rollout.families.procedural.task_template import Draft, act, failed, propose

SPOILED_SHARE = 0.4


def make(rng: Random, group: str) -> Draft:
    """A question over a table."""
    spoiled = rng.random() < SPOILED_SHARE
    asked = ask(rng, group, _spoil if spoiled else None)
    columns = {name: asked.data.column(name) for name in asked.data.columns}
    return Draft(
        key=(asked.question.name, asked.data.rows, tuple(asked.slots.items())),
        prompt=f"The pandas table df lists {asked.data.theme.things}. {asked.text}",
        answer=asked.answer,
        grader=asked.question.grader,
        expert=lambda errs: _demonstrate(asked, errs),
        setup=f"import pandas as pd\ndf = pd.DataFrame({columns!r})",
        min_cells=2,
        fails_first=spoiled,
    )


def _spoil(rng: Random, data: DataSet) -> DataSet:
    """Puts "n/a" for one number, below the first rows, so that it shows only when it hurts."""
    row, column = rng.randrange(3, len(data.rows)), data.columns.index(data.number)
    rows = [list(values) for values in data.rows]
    rows[row][column] = "n/a"
    return replace(data, rows=tuple(map(tuple, rows)))


def _code(asked: Asked, number: str, label: str, group: str) -> str:
    value, limit = asked.slots["value"], asked.slots["limit"]
    rows = f'rows = df[df["{group}"] == "{value}"]'
    return {
        "total": f'{rows}\nprint(rows["{number}"].sum())',
        "average": f'{rows}\nprint(round(rows["{number}"].mean(), 2))',
        "count": f'rows = df[df["{number}"] > {limit}]\nprint(len(rows))',
        "highest": f'best = df["{number}"].idxmax()\nprint(df["{label}"][best])',
    }[asked.question.name]


def _demonstrate(asked: Asked, errs: bool) -> Demonstration:
    label, group = asked.data.theme.label[0], asked.data.theme.group[0]
    if errs:  # takes the words of the question for column names
        yield act("I compute it.", _code(asked, asked.data.concept, label, group))
    shown = yield act("I look at the columns.", "print(list(df.columns))")
    number = find_column(shown, asked.data.concept)
    code = _code(asked, number, find_column(shown, label), find_column(shown, group))
    result = yield act(asked.question.plan, code)
    if failed(result):
        repair = f'df["{number}"] = pd.to_numeric(df["{number}"], errors="coerce")'
        result = yield act("Some entries are not numbers, I convert them.", f"{repair}\n{code}")
    yield propose(result)
