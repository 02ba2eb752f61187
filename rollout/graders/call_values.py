"""Whether the arguments of a call are those that BFCL accepts.

Contract: pure functions. A possible answer has a list of accepted values for each argument, and ``""`` among them
where the argument may be left out. The members of an object have such lists, too.

The rule, by the accepted value: numbers are equal as numbers, and a whole number is not written with a decimal point
where the description asks for an integer; truth values are no numbers; lists have the same length and order, also
within lists; of texts, :func:`same_text` is the rule. An argument that is left out, or given with the value that the
description has as its default, is the same call when the default is accepted or the argument may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

OMITTED = ""
"""Among accepted values: the argument may be left out."""
Schema = Mapping[str, Any]
"""The description of a value: ``type``, and ``properties``, ``required``, ``items`` or ``default``."""

_LONGEST_SHOWN = 80
_OPERATOR = re.compile(r"[+*^=<>]")
_PRODUCT = re.compile(r"(?<=\d)\*(?=[a-z(])")
_DATE = re.compile(r"\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\b|\b(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_STOP = re.compile(r"[.,;]\s+")
_BETWEEN = re.compile(r"([\s,._/-]+)(\d?)")


def difference(given: Mapping[str, Any], accepted: Mapping[str, Sequence[Any]], schema: Schema) -> str:
    """The first point in which arguments differ from the accepted ones; empty when they do not.

    Args:
        given: argument → value.
        accepted: argument → accepted values.
        schema: the description of the arguments, an object.
    """
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    required = schema.get("required") or ()
    for name, value in given.items():
        if name not in accepted and name not in properties:
            return f"there is no argument {name}"
        if not _accepts(value, accepted.get(name), properties.get(name, {}), name in required):
            wanted = [one for one in accepted.get(name, ()) if one != OMITTED]
            return f"{name} is {_shown(value)}, not {_shown(wanted[0])}" if wanted else f"{name} is not expected"
    for name, values in accepted.items():
        if name not in given and not _may_be_left_out(values, properties.get(name, {}), name in required):
            return f"the argument {name} is missing"
    return ""


def _accepts(value: Any, accepted: Sequence[Any] | None, schema: Schema, required: bool) -> bool:
    if accepted is None:  # an optional argument that the answers do not name
        return not required and _is_default(value, schema)
    if any(one != OMITTED and _same(value, one, schema) for one in accepted):
        return True
    if OMITTED not in accepted:
        return False
    if value == OMITTED:  # the marker is a text of its own where nothing can be left out
        return required or len(accepted) == 1 or schema.get("default") == OMITTED
    return _is_default(value, schema)


def _may_be_left_out(accepted: Sequence[Any], schema: Schema, required: bool) -> bool:
    if OMITTED in accepted:
        return True
    return not required and any(_is_default(one, schema) for one in accepted)


def _is_default(value: Any, schema: Schema) -> bool:
    """Whether a value is the one that the description names for an argument that is left out."""
    if "default" not in schema:
        return False
    default = schema["default"]
    if schema.get("type") == "boolean" and isinstance(default, str):  # "False", as some descriptions write it
        return isinstance(value, bool) and str(value).lower() == default.lower()
    return _same(value, default, schema)


def _same(value: Any, wanted: Any, schema: Schema) -> bool:
    """Whether a value is an accepted one."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and not difference(value, _members(wanted), schema)
    if isinstance(wanted, list):
        items = schema.get("items") or {}
        same_length = isinstance(value, list) and len(value) == len(wanted)
        return same_length and all(_same(one, other, items) for one, other in zip(value, wanted, strict=True))
    if isinstance(wanted, bool) or isinstance(value, bool) or wanted is None or value is None:
        return value is wanted
    if isinstance(wanted, str):
        return isinstance(value, str) and same_text(value, wanted)
    if not isinstance(value, int | float):
        return False
    as_asked = schema.get("type") != "integer" or isinstance(value, int) or isinstance(wanted, float)
    return value == wanted and as_asked


def _members(wanted: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Accepted values of each member; a member without a list of them has one."""
    return {name: one if isinstance(one, list) else [one] for name, one in wanted.items()}


def same_text(given: str, wanted: str) -> bool:
    """Whether two texts are the same but for case, kind of quotes, and blanks and punctuation between words.

    A sign, a decimal point and a slash before a digit count, and in a formula every operator: ``3.5`` is not ``35``,
    ``-5`` not ``5`` and ``x^2-1`` not ``x^21``. Dates may have ``-``, ``/`` or ``.`` between their numbers.
    """
    return given == wanted or _plain(given) == _plain(wanted)


def _plain(text: str) -> str:
    text = text.casefold().strip().replace("'", '"')
    if _OPERATOR.search(text):
        return _PRODUCT.sub("", "".join(text.split()).replace("**", "^"))
    text = _THOUSANDS.sub("", _DATE.sub(_date, text))
    return _BETWEEN.sub(_between, _STOP.sub(" ", text)).strip()


def _date(found: re.Match[str]) -> str:
    return "-".join(part for part in found.groups() if part)


def _between(found: re.Match[str]) -> str:
    """What stays of blanks and punctuation: signs before a digit. A hyphen between a word and a number is none."""
    marks, digit = found.groups()
    if not digit:
        return ""
    signs = re.sub(r"[\s,_]", "", marks)
    word = found.string[max(0, found.start() - 2) : found.start()]
    if len(word) == 2 and word.isalpha() and (not signs or marks == "-"):  # "COVID-19", "April 1"
        return digit
    return (signs or " ") + digit


def _shown(value: Any) -> str:
    """A value in a reason, which a model may have written."""
    try:
        text = repr(value)
    except RecursionError:
        return "a deeply nested value"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
