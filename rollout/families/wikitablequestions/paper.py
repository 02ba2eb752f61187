"""The choice of CodeActInstruct from the training questions.

Contract: the rule of the paper's sampler, which used pandas. The size of a table is what ``pandas.read_csv`` reads; of
the 81 files that it cannot read, the paper read another form (TSV) that has one line a row, so their true size is
taken. Ties keep the order of the file. The questions that pandas lost at a stray quote stay out.

Cost: reading every table with pandas, about six seconds.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rollout.families.data.paper import shuffled
from rollout.families.wikitablequestions.table import UnreadableTableError, read_table

SEED = 42


def paper_choice(questions: Sequence[Sequence[str]], tables: Mapping[str, str], count: int) -> list[tuple[str, str]]:
    """Id and kind of the chosen questions, in the paper's order.

    Args:
        questions: id, question and table of each, as read with quotes.
        tables: the csv files.
        count: number of questions.
    """
    sizes = {name: _size(tables.get(name)) for name in {question[2] for question in questions}}
    largest = sorted(questions, key=lambda question: [-length for length in sizes[question[2]]])[:count]
    mixed = [largest[place] for place in shuffled(len(largest), SEED)]
    kinds = ["sqlite" if place < len(mixed) / 2 else "pandas" for place in range(len(mixed))]
    return [(mixed[place][0], kinds[place]) for place in shuffled(len(mixed), SEED)]


def _size(text: str | None) -> tuple[int, int]:
    """Rows and columns; none of a table that is missing or cannot be read."""
    import pandas as pd

    if text is None:
        return 0, 0
    try:
        rows, columns = pd.read_csv(io.StringIO(text)).shape
        return rows, columns
    except (pd.errors.ParserError, pd.errors.EmptyDataError):
        pass
    try:
        table = read_table(text)
    except UnreadableTableError:
        return 0, 0
    return len(table.rows), len(table.columns)
