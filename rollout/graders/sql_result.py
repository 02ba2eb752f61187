"""The grader ``sql_result``: the result of a query, or the state of a table (DBBench of AgentBench, arXiv 2308.03688).

A question has a list of values: one value is compared as a number where both are numbers, else as text; several are
compared as sets. A task that changes a table has the digest of its rows; the environment proposes the digest of the
table that it finds.
"""

from __future__ import annotations

import ast
import math

from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import LONGEST_SHORT_ANSWER, read_reference, shown

_EMPTY = ("", "none", "null", "nan")


def sql_result(proposed: str, reference: str) -> Verdict:
    """The same values, or the same table.

    Args:
        proposed: a list in Python's form or one value; for a change, the digest of the table.
        reference: ``{"labels": [...], "type": "...", "hash": null | "..."}``.
    """
    known = read_reference(reference, "sql_result", "labels")
    if known.get("hash"):
        same = proposed.strip() == str(known["hash"]).strip()
        return right("the table is as it should be") if same else wrong("the table is not as it should be")
    labels = [_plain(label) for label in known["labels"]]
    if not labels:
        raise ValueError("the answer of a task with the grader sql_result has no labels")
    if not proposed.strip():
        return wrong("there is no answer")  # an empty result is proposed as none
    found = [_plain(item) for item in _items(proposed[:LONGEST_SHORT_ANSWER])]
    if len(labels) == 1 and len(found) == 1:
        same = _same(found[0], labels[0])
        return right("it is the value") if same else wrong(f"{shown(found[0])} is not {shown(labels[0])}")
    missing = [label for label in labels if not any(_same(item, label) for item in found)]
    extra = [item for item in found if not any(_same(item, label) for label in labels)]
    if missing:
        return wrong(f"{shown(missing[0])} is not among its values")
    return wrong(f"{shown(extra[0])} is not in the result") if extra else right("it has the values of the result")


def _items(proposed: str) -> list[object]:
    """The items of a list; a list of rows with one column is a list of values."""
    text = proposed.strip()
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return [text]
    if not isinstance(value, list | tuple | set):
        return [value if isinstance(value, str) else text]
    return [item[0] if isinstance(item, list | tuple) and len(item) == 1 else item for item in value]


def _plain(item: object) -> str:
    text = "" if item is None else str(item).strip()
    return "" if text.lower() in _EMPTY else text


def _same(said: str, label: str) -> bool:
    if said == label:
        return True
    value, wanted = _number(said), _number(label)
    if value is None or wanted is None:
        return " ".join(said.split()).casefold() == " ".join(label.split()).casefold()
    return math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-9)


def _number(text: str) -> float | None:
    """The number that a text is; a percent sign and thousands commas do not count (the data set's rule)."""
    try:
        value = float(text.replace(",", "").rstrip("%"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
