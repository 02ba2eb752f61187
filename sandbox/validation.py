"""What is wrong with given values, in one sentence a fault instead of pydantic's paragraphs."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import ValidationError

SHOWN_CHARS = 80


def sentences(where: str, error: ValidationError, secret: Collection[str] = ()) -> str:
    """One line a fault: the key below ``where``, what to mend, and the value unless the key is ``secret``."""
    lines = []
    for fault in error.errors():
        key = ".".join([where, *map(str, fault["loc"])])
        said = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            said = "there is no such setting; correct its name or remove it"
        shown = "" if {*fault["loc"]} & {*secret} else f" (given: {_short(repr(fault['input']))})"
        lines.append(f"{key}: {said}{shown}")
    return "\n".join(lines)


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
