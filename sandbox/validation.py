"""Formats validation errors of pydantic: one line an error, with the key, what is wrong with it and the value."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

SHOWN_CHARS = 80


def format_errors(
    prefix: str, error: ValidationError, *, model: type[BaseModel] | None = None, secret: Collection[str] = ()
) -> str:
    """One line an error: ``prefix`` and key, what is wrong, and the value unless the key is ``secret``.

    Args:
        prefix: precedes each key, such as ``"limits."`` or ``"run.yaml: "``.
        error: what pydantic raised.
        model: what was validated; with it, the line about an unknown key suggests a known one.
        secret: keys whose values are not shown.
    """
    return "\n".join(format_details(prefix, error.errors(include_url=False, include_context=False), model, secret))


def format_details(
    prefix: str, errors: Iterable[Mapping[str, Any]], model: type[BaseModel] | None, secret: Collection[str] = ()
) -> list[str]:
    """The lines of :func:`format_errors` for errors as :meth:`pydantic.ValidationError.errors` lists them."""
    lines = []
    for details in errors:
        path = [part for part in details["loc"] if not str(part).startswith("function-")]
        message, value = details["msg"].removeprefix("Value error, "), details["input"]
        shown = "" if isinstance(value, dict | BaseModel) or {*path} & {*secret} else f" (given: {_short(repr(value))})"
        if details["type"] == "extra_forbidden":
            message, shown = f"unknown key; {_suggestion(model, path)}", ""
        elif details["type"] in ("tuple_type", "list_type"):
            message = "must be a list, written [a, b]"
        lines.append(f"{(prefix + '.'.join(map(str, path))).rstrip('.: ')}: {message}{shown}")
    return lines


def _suggestion(model: type[BaseModel] | None, path: list[Any]) -> str:
    """Known keys in place of the one at ``path``."""
    known = _keys(model, path[:-1])
    if close := difflib.get_close_matches(str(path[-1]), known, n=1):
        return f"did you mean '{close[0]}'?"
    return f"known here: {', '.join(known)}" if known else "correct its name or remove it"


def _keys(model: Any, path: list[Any]) -> list[str]:
    """The keys of the section at ``path``; empty where the section is not a model."""
    for part in path:
        if not isinstance(part, int):
            field = getattr(model, "model_fields", {}).get(part)
            model = model_in(field.annotation) if field else None
    return list(getattr(model, "model_fields", ()))


def model_in(annotation: Any) -> Any:
    """The model in ``Model``, ``Model | None`` or ``tuple[Model, ...]``."""
    if hasattr(annotation, "model_fields"):
        return annotation
    return next(filter(None, map(model_in, get_args(annotation))), None)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
