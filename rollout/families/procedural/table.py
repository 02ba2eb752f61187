"""Kind ``table``: questions over a pandas data frame ``df`` that is already in the kernel.

On two in five tasks the number column has a non-numeric entry below the first rows: arithmetic raises until the column
is converted.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from rollout.families.base import Demonstration
from rollout.families.procedural.records import DataSet, PosedQuestion, ask, find_column
from rollout.families.procedural.task_template import TaskTemplate, act, failed, propose

SPOILED_SHARE = 0.4


def make(rng: Random, group: str) -> TaskTemplate:
    """A question over a table."""
    spoiled = rng.random() < SPOILED_SHARE
    asked = ask(rng, group, _spoil if spoiled else None)
    columns = {name: asked.data.column(name) for name in asked.data.columns}
    return TaskTemplate(
        key=(asked.question.name, asked.data.rows, tuple(asked.slots.items())),
        prompt=f"The pandas table df lists {asked.data.theme.things}. {asked.text}",
        answer=asked.answer,
        grader=asked.question.grader,
        expert=lambda make_mistake: _demonstrate(asked, make_mistake),
        setup=f"import pandas as pd\ndf = pd.DataFrame({columns!r})",
        min_cells=2,
        fails_first=spoiled,
    )


def _spoil(rng: Random, data: DataSet) -> DataSet:
    """Replaces one number by "n/a", below the rows that ``df.head(3)`` shows."""
    row, column = rng.randrange(3, len(data.rows)), data.columns.index(data.number)
    rows = [list(values) for values in data.rows]
    rows[row][column] = "n/a"
    return replace(data, rows=tuple(map(tuple, rows)))


def _code(asked: PosedQuestion, number: str, label: str, group: str) -> str:
    value, limit = asked.slots["value"], asked.slots["limit"]
    rows = f'rows = df[df["{group}"] == "{value}"]'
    return {
        "total": f'{rows}\nprint(rows["{number}"].sum())',
        "average": f'{rows}\nprint(round(rows["{number}"].mean(), 2))',
        "count": f'rows = df[df["{number}"] > {limit}]\nprint(len(rows))',
        "highest": f'best = df["{number}"].idxmax()\nprint(df["{label}"][best])',
    }[asked.question.name]


def _demonstrate(asked: PosedQuestion, make_mistake: bool) -> Demonstration:
    label, group = asked.data.theme.label[0], asked.data.theme.group[0]
    if make_mistake:  # uses the words of the question as column names
        yield act("I compute it.", _code(asked, asked.data.concept, label, group))
    shown = yield act("I look at the columns.", "print(list(df.columns))")
    number = find_column(shown, asked.data.concept)
    code = _code(asked, number, find_column(shown, label), find_column(shown, group))
    result = yield act(asked.question.plan, code)
    if failed(result):
        repair = f'df["{number}"] = pd.to_numeric(df["{number}"], errors="coerce")'
        result = yield act("Some entries are not numbers, I convert them.", f"{repair}\n{code}")
    yield propose(result)
