"""The rule of BFCL's own checker, with its defects: for comparing scores.

Kept: punctuation, blanks and operators are removed from texts, so "3.5" is "35" and "x^2-1" is "x21"; an empty list is
accepted where an argument may be left out; 1 is True within objects; positional arguments are dropped; of several calls
each answer takes the first that fits; a turn that cannot be read counts as no call. Calls in code are those that it
made. Source: ``bfcl_eval/eval_checker/ast_eval/ast_checker.py`` of ShishirPatil/gorilla (read, not copied).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rollout.graders.calls import POSITIONAL, read_calls
from rollout.graders.verdict import Verdict, right, wrong

_TYPES: Mapping[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}

_LARGEST_FLOAT = int(sys.float_info.max)


def legacy_calls(proposed: str, reference: str) -> Verdict:
    """The verdict of the original's rule."""
    known = json.loads(reference)
    made, _ = read_calls(proposed)
    if not known["calls"]:
        return wrong("a call was made") if made else right("no call can be read")
    if made is None:
        return wrong("no call can be read")
    if len(made) != len(known["calls"]):
        return wrong("another number of calls")
    described = {one["name"]: one["parameters"] for one in known["functions"]}
    left = list(made)
    for wanted in known["calls"]:
        found = next((place for place, one in enumerate(left) if _fits(one, wanted, described)), None)
        if found is None:
            return wrong(f"no call fits {next(iter(wanted))}")
        del left[found]
    return right()


def _fits(made: Mapping[str, Any], wanted: Mapping[str, Any], described: Mapping[str, Any]) -> bool:
    ((name, accepted),) = wanted.items()
    given = {key: value for key, value in made["arguments"].items() if key != POSITIONAL}
    properties = described[name]["properties"]
    if made["name"] != name or any(one not in given for one in described[name].get("required", ())):
        return False
    if any(one not in properties or one not in accepted for one in given):
        return False
    if not all(_value(value, accepted[key], properties[key]) for key, value in given.items()):
        return False
    return all(key in given or "" in values for key, values in accepted.items())


def _value(value: Any, accepted: Sequence[Any], schema: Mapping[str, Any]) -> bool:
    kind = schema["type"]
    expected = _TYPES[kind]
    nested = _TYPES[schema["items"]["type"]] if kind in ("array", "tuple") else None
    if kind == "float" and type(value) is int and abs(value) <= _LARGEST_FLOAT:
        value = float(value)
    fits, other_type = _typed(value, accepted, expected, nested)
    if not fits:
        return False
    if other_type:
        return value in accepted
    if expected is dict:
        return any(one != "" and _object(value, one) for one in accepted)
    if expected is list and nested is dict:
        return any(
            len(value) == len(one) and all(_object(part, other) for part, other in zip(value, one, strict=True))
            for one in accepted
        )
    if expected is str:
        return _standard(value) in [_standard(one) for one in accepted if isinstance(one, str)]
    if expected is list:
        return [_standard(one) for one in value] in [[_standard(part) for part in one] for one in accepted]
    return value in accepted


def _typed(value: Any, accepted: Sequence[Any], expected: type, nested: type | None) -> tuple[bool, bool]:
    """Whether the type fits, and whether it is that of the answers and not that of the description."""
    own = next((type(one) for one in accepted if one != ""), None)
    items: Any = value
    fits = type(value) is expected and (
        nested is None
        or any(
            not isinstance(one, list) or all(_typed(part, one, nested, None)[0] for part in items) for one in accepted
        )
    )
    if fits:
        return True, own not in (None, expected)
    return own is not None and type(value) is own, True


def _object(value: Any, accepted: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(accepted, dict):
        return False
    members = all(
        key in accepted and _standard(one) in [_standard(other) for other in accepted[key]]
        for key, one in value.items()
    )
    return members and all(key in value or "" in others for key, others in accepted.items())


def _standard(value: Any) -> Any:
    """A text without blanks and ``,./-_*^``, in lower case; other values as they are."""
    return re.sub(r"[ ,./\-_*^]", "", value).lower().replace("'", '"') if isinstance(value, str) else value
