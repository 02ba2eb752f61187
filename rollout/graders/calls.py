"""The grader ``calls``: are the calls of a turn those that a request needs (BFCL)?

Contract: what is graded is made by the host: ``{"calls": [{"name", "arguments"}, …], "error": text}``, and ``calls`` is
null when the turn holds a call that cannot be read, or its code failed before a call. Positional arguments are a list
under ``*``, in the order of the description. The reference is ``{"category", "functions": [description, …], "calls":
[{name: {argument: [value, …]}}, …]}``; without calls in it, none must be made. Nothing is executed. Calls may have any
order. The rule for arguments is in :mod:`rollout.graders.call_values`, that of the original in
:mod:`rollout.graders.legacy_calls`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rollout.graders.call_values import difference
from rollout.graders.verdict import Verdict, right, wrong

POSITIONAL = "*"
"""Key of the positional arguments of a call, a list; no parameter has this name."""


def calls(proposed: str, reference: str) -> Verdict:
    """As many calls as are needed, each of them one of the needed ones."""
    known = json.loads(reference)
    wanted = known["calls"]
    made, error = read_calls(proposed)
    if made is None:
        return wrong(f"there are no calls to judge: {error}")
    if not wanted:
        return wrong(f"{made[0]['name']} was called, and no function fits") if made else right("no call is right")
    if len(made) != len(wanted):
        return wrong(f"{len(made)} calls were made, {len(wanted)} are right")
    described = {one["name"]: one for one in known["functions"]}
    differences = [[_difference(one, other, described) for other in wanted] for one in made]
    alone = _without_partner([[not text for text in row] for row in differences])
    if alone is None:
        return right("the calls are right")
    row = differences[alone]
    named = [text for text, other in zip(row, wanted, strict=True) if text and made[alone]["name"] in other]
    return wrong((named or [text for text in row if text] or ["one call was made twice"])[0])


def read_calls(proposed: str) -> tuple[list[dict[str, Any]] | None, str]:
    """The calls of what is graded, None when they cannot be read, and the reason."""
    try:
        said = json.loads(proposed)
    except (ValueError, RecursionError):
        return None, "it is not JSON"
    if not isinstance(said, dict) or "calls" not in said:
        return None, "it is no record of calls"
    return said["calls"], str(said.get("error") or "no reason is given")


def _difference(made: Mapping[str, Any], wanted: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    """In what a call differs from a possible answer; empty when it does not."""
    ((name, accepted),) = wanted.items()
    if made["name"] != name:
        return f"{made['name']} was called, not {name}"
    schema = described[name]["parameters"]
    given = dict(made["arguments"])
    positional = given.pop(POSITIONAL, [])
    names = list(schema.get("properties") or {})
    if not isinstance(positional, list) or len(positional) > len(names):
        return f"{name} does not take these positional arguments"
    if twice := given.keys() & set(names[: len(positional)]):
        return f"the argument {min(twice)} is given twice"
    given |= dict(zip(names, positional, strict=False))
    if missing := [one for one in schema.get("required") or () if one not in given]:
        return f"the required argument {missing[0]} is missing"
    return difference(given, accepted, schema)


def _without_partner(fits: Sequence[Sequence[bool]]) -> int | None:
    """A row without a column of its own in every assignment of rows to columns that fit; None when all have one.

    Kuhn's algorithm: a row takes a column, and the row that had it looks for another one.
    """
    owner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, fit in enumerate(fits[row]):
            if fit and column not in seen:
                seen.add(column)
                if column not in owner or place(owner[column], seen):
                    owner[column] = row
                    return True
        return False

    return next((row for row in range(len(fits)) if not place(row, set())), None)
