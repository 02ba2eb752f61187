"""Text and JSON of a kernel, made safe to store and to show.

Contract: every text is laid out as a terminal would show it (:mod:`sandbox.guest.terminal`), so newline and tab are its
only control characters, and lone surrogates are escaped. JSON loses NaN, infinities and depth. Costs a scan of each
text, about 2 ms per MB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from sandbox.guest.cell_text import shorten
from sandbox.guest.terminal import visible_text, without_sequences

MARKER_CHARS = 60
DEPTH = 100
"""Nesting levels kept of a mime bundle: programs that store results refuse more than some hundreds."""


def plain(text: Any, limit: int) -> str:
    """``text`` as a terminal shows it, lone surrogates escaped, at most ``limit`` characters and a marker."""
    if not isinstance(text, str):
        return ""
    # the kernel may have put a marker into it already
    return shorten(encodable(visible_text(text)), limit + MARKER_CHARS)


def plain_piece(text: str, limit: int) -> str:
    """A piece of a text that is still being printed: it keeps ``\\r`` and ``\\b`` for a terminal that follows."""
    return shorten(encodable(without_sequences(text)), limit + MARKER_CHARS)


def encodable(text: str) -> str:
    """``text`` with lone surrogates escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def plain_bundle(data: Any) -> dict[str, Any]:
    """A mime bundle that can be stored: clean text, no NaN, bounded depth. Raises TypeError for other types."""
    if not isinstance(data, dict):
        raise TypeError(f"a mime bundle is an object, not {type(data).__name__}")
    bundle: dict[str, Any] = plain_json(data, clean=_without_controls)
    return (
        bundle
        if not isinstance(data.get("text/plain"), str)
        else bundle | {"text/plain": encodable(visible_text(data["text/plain"]))}
    )


def plain_json(
    value: Any, depth: int = DEPTH, finite: bool = True, clean: Callable[[str], str] = lambda text: text
) -> Any:
    """Any JSON value without lone surrogates and of bounded depth; ``finite=False`` keeps NaN and infinities."""
    if isinstance(value, str):
        return encodable(clean(value))
    if isinstance(value, float):
        return value if math.isfinite(value) or not finite else str(value)
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return "..."
    if isinstance(value, dict):
        return {
            plain_json(key, 0, clean=clean): plain_json(inner, depth - 1, finite, clean) for key, inner in value.items()
        }
    return [plain_json(inner, depth - 1, finite, clean) for inner in value]


def _without_controls(text: str) -> str:
    """Markup and JSON are no terminal text: their carriage returns are line ends."""
    return without_sequences(text).replace("\r\n", "\n").replace("\r", "\n").replace("\b", "")
