"""Formats exceptions for a model: the user's frames, without library internals and paths of the host.

Contract: plain text in Python's own format; frames of cells, of files in the workspace and of code made from strings;
at most ``FRAMES`` of them, the outermost and the innermost; causes only if they have such a frame; the first
``MEMBERS`` of an exception group. Cost: linear in the depth of the stack with a small constant (an endless recursion
formats in milliseconds, IPython takes seconds).
"""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import TypeAlias

from sandbox.guest.cell_text import shorten

FRAMES = 8
CAUSES = 3
MEMBERS, DEPTH = 8, 3
"""How many exceptions of a group are shown, and how deep groups within groups."""
VALUE_CHARS = 2000
NO_CODE = ("<frozen ", "<decorator-gen-", "<tool>")
"""File names of code that does not come from a cell."""
Roots: TypeAlias = tuple[str, ...]
"""Folders of the workspace, inner ones first, each with a trailing slash."""


def describe(error: BaseException, keep: int, roots: Roots) -> tuple[str, str, str]:
    """Name, value and traceback text of ``error``, the latter within ``keep`` characters."""
    name = type(error).__name__
    value = _text_of(error)
    parts = [_one(error, roots)]
    seen = {id(error)}
    current = error
    for _ in range(CAUSES):
        cause, direct = current.__cause__, True
        if cause is None and not current.__suppress_context__:
            cause, direct = current.__context__, False
        if cause is None or id(cause) in seen or not _user_frames(cause.__traceback__, roots):
            break
        seen.add(id(cause))
        joint = "The above exception was the direct cause of" if direct else "During handling of the above exception"
        joint += " the following exception:" if direct else ", another exception occurred:"
        parts.append(f"{_one(cause, roots)}\n\n{joint}\n")
        current = cause
    return name, value, shorten("\n".join(reversed(parts)), keep)


def _text_of(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        place = f" (line {error.lineno})" if error.lineno else ""
        return shorten(f"{error.msg}{place}", VALUE_CHARS)
    try:
        return shorten(str(error), VALUE_CHARS)
    except BaseException as failure:
        return f"<str() of the exception raised {type(failure).__name__}>"


def _one(error: BaseException, roots: Roots, depth: int = 0) -> str:
    name, value = type(error).__name__, _text_of(error)
    if isinstance(error, SyntaxError):
        lines = [line.rstrip("\n") for line in traceback.format_exception_only(type(error), error)]
        return "\n".join(lines)
    frames = _user_frames(error.__traceback__, roots)
    lines = ["Traceback (most recent call last):"] if frames else []
    for frame in frames:
        lines += [line.rstrip("\n") for line in traceback.format_list([frame])] if frame else ["  ..."]
    lines.append(f"{name}: {value}" if value else name)
    lines += getattr(error, "__notes__", [])
    members = getattr(error, "exceptions", ())
    if isinstance(members, tuple) and members and depth < DEPTH:
        lines += _members(members, roots, depth + 1)
    return "\n".join(lines)


def _members(members: tuple[BaseException, ...], roots: Roots, depth: int) -> list[str]:
    """The members of an exception group, in Python's own format."""
    lines: list[str] = []
    for number, member in enumerate(members[:MEMBERS], 1):
        lines.append(f"{'  +-' if number == 1 else '    '}+---------------- {number} ----------------")
        lines += [f"    | {line}" for line in _one(member, roots, depth).split("\n")]
    if len(members) > MEMBERS:
        lines += ["    +---------------- ... ----------------", f"    | and {len(members) - MEMBERS} more"]
    return [*lines, "    +------------------------------------"]


def _user_frames(tb: TracebackType | None, roots: Roots) -> list[traceback.FrameSummary | None]:
    """The frames to show, None in place of omitted ones."""
    kept: list[TracebackType] = []
    while tb is not None:
        filename = tb.tb_frame.f_code.co_filename
        if filename.startswith(("<", *roots)) and not filename.startswith(NO_CODE):
            kept.append(tb)
        tb = tb.tb_next
    cut = len(kept) > FRAMES
    half = FRAMES // 2
    shown: list[traceback.FrameSummary | None] = []
    for index, item in enumerate(kept[:half] + kept[-half:] if cut else kept):
        if cut and index == half:
            shown.append(None)
        code = item.tb_frame.f_code
        name = code.co_filename
        for root in roots:
            name = name.removeprefix(root)
        summary = traceback.FrameSummary(code.co_filename, item.tb_lineno, code.co_name)
        shown.append(traceback.FrameSummary(name, item.tb_lineno, code.co_name, lookup_line=False, line=summary.line))
    return shown
