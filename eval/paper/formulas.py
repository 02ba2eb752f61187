"""The paper's aggregates: MINT's averages and slope, the overall score, and the counts of best formats.

Contract: percentages go in and come out. No script of the reference system has these formulas; they are worked out
from its published numbers, which they repeat (``tests/eval/test_paper.py``). Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import linear_regression

MT_BENCH = "mt_bench"
"""The column whose scores are from 1 to 10; an average takes ten times the score."""


def micro_average(solved: Mapping[str, int], tasks: Mapping[str, int], sets: Iterable[str]) -> float:
    """Percentage of all tasks of several sets that are solved, so that a large set counts more than a small one.

    The paper's Table 5: MINT-ID over 277 tasks (alfworld, math, hotpotqa), MINT-OD over 309 (the other five sets).

    Args:
        solved: set → solved tasks.
        tasks: set → tasks.
        sets: the sets that are averaged.
    """
    chosen = list(sets)
    return 100 * sum(solved[one] for one in chosen) / sum(tasks[one] for one in chosen)


def slope(rates: Sequence[float]) -> float:
    """Least-squares slope of the success rate against the number of turns k = 1, 2, …, in points a turn.

    Source: MINT (arXiv 2309.10691).
    """
    return linear_regression(range(1, len(rates) + 1), rates).slope


def overall(scores: Mapping[str, float | None], columns: Sequence[str]) -> float | None:
    """Mean of columns, MT-Bench times ten; None when one of them is missing.

    The paper averages eight columns in Table 5 (all but MINT-ID), and seven in Table A.8 (without M3ToolEval).
    """
    values = [scores.get(column) for column in columns]
    if any(value is None for value in values):
        return None
    scaled = zip(columns, values, strict=True)
    return sum((10 if column == MT_BENCH else 1) * (value or 0.0) for column, value in scaled) / len(columns)


def best_counts(rows: Iterable[Sequence[float]], *, lower: bool = False) -> tuple[int, ...]:
    """For each column, the number of rows in which it is the best. Columns that tie for the best all count.

    Source: the last rows of the paper's Tables 2 and 3. Table 3 has two rows in which all three formats tie (4.9 and
    0.0 %); its published counts, 12, 5 and 4 of 17, follow from counting each of them three times.

    Args:
        rows: one row a model, one value a format.
        lower: whether a smaller value is better, as for turns.
    """
    chosen = list(rows)
    best = [min(row) if lower else max(row) for row in chosen]
    columns = range(len(chosen[0])) if chosen else ()
    return tuple(sum(row[column] == value for row, value in zip(chosen, best, strict=True)) for column in columns)
