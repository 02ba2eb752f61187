"""The call that the reference system finds in a turn, and what it gives on databases in their first state.

The reference searches the turn with regular expressions and runs no Python. Each value is a text, which is converted to
the type of its parameter. Its defects are kept: an apostrophe ends a value in code, a comma one in text; earlier calls
of the dialogue have changed nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rollout.families.apibank.apis import APIS, Api, World

_CODE = re.compile(r"\[(\w+)\((.*)\)\]", re.MULTILINE)
_PARAMETER = re.compile(r"(\w+)\s*=\s*(?:['\"](.+?)['\"]|(\[.*\])|(\w+))")
_JSON = re.compile(r"\[\s*\{.*\}\s*\]", re.DOTALL)
_TEXT = re.compile(r"\[Action: (.*)\]")

Found = tuple[str, dict[str, str]]


def reference_call(text: str, form: str, databases: Mapping[str, str]) -> dict[str, Any] | None:
    """The record of the call that the reference makes; None when it finds none or cannot make it.

    Args:
        text: the turn.
        form: of the protocol, such as ``call_json``.
        databases: name → JSON text.
    """
    found = {"call_code": _code, "call_json": _json, "call_text": _text}[form](text)
    if found is None or found[0] not in APIS:
        return None
    known, (name, texts) = APIS[found[0]], found
    try:
        inputs = {key: _converted(known, key, value) for key, value in texts.items()}
        known.signature.bind(**inputs)
    except (KeyError, TypeError, ValueError):
        return None
    try:
        output, exception = known.run(World(databases), **inputs), None
    except (ValueError, TypeError) as fault:
        output, exception = None, str(fault)
    return {"api_name": name, "input": inputs, "output": output, "exception": exception}


def _code(text: str) -> Found | None:
    found = _CODE.search(text)
    if found is None:
        return None
    values = {one[1]: one[2] or one[3] or one[4] for one in _PARAMETER.finditer(found[2])}
    return found[1], values


def _json(text: str) -> Found | None:
    found = _JSON.search(text)
    try:
        call = dict(json.loads(found[0])[0]) if found else {}
        return str(call.pop("action")), {key: str(value) for key, value in call.items()}
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def _text(text: str) -> Found | None:
    found = _TEXT.search(text)
    if found is None:
        return None
    name, *parts = found[1].split(", ")
    pairs = [part.partition(": ") for part in parts]
    return (name, {key: value for key, _, value in pairs}) if all(colon for _, colon, _ in pairs) else None


def _converted(known: Api, name: str, text: str) -> Any:
    """A text as a value of the parameter's type. Raises KeyError or ValueError as the reference refuses it."""
    kind = known.describe()["input_parameters"][name]["type"]
    if kind == "int":
        if not text.isdigit():
            raise ValueError(f"{text!r} is no whole number")
        return int(text)
    if kind == "bool":
        return text == "True"
    return json.loads(text.replace("'", '"')) if kind.startswith("list") else text
