"""Text as a terminal would show it: control sequences removed, carriage returns and backspaces applied.

Contract: :func:`visible_text` returns text whose only control characters are newline and tab. Within a line ``\\r``
moves to its start, ``\\b`` one character back, and what follows overwrites what is there. Erasing to the line's end
or the whole line is applied, too. Every other escape sequence and control character (C0, DEL, C1) is removed. A
character is a column, lines are independent: moves to another line are removed. Time is linear in the length of the
text.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ASCII_CONTROLS = bytes([*range(9), *range(11, 32), 127])
_ERASE_REST, _ERASE_LINE = "\x0e", "\x0f"
"""Stand for two escape sequences while a line is laid out. As characters of a text they are removed before."""
_STRING = "[^\x00-\x08\x0a-\x1f\x7f-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)(?P<number>[0-9]*)(?P<kind>[KGD])"  # erase in line, to a column, back
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    f"|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f]){_STRING}"  # OSC, DCS, SOS, PM, APC
    "|\x1b[ -/]*[0-~]"
    "|[\x00-\x07\x0b-\x0c\x0e-\x1f\x7f-\x9f]"
)
_INCOMPLETE = re.compile("\x1b[^A-Za-z\n]*\\Z")
_MOVES = re.compile(f"([\r\b{_ERASE_REST}{_ERASE_LINE}])")
MOST_MOVES = 100_000
"""Moves of one text that are applied; more only come from code that wants to keep the host busy."""


def without_sequences(text: str) -> str:
    """``text`` without escape sequences and control characters, except newline, tab, ``\\r`` and ``\\b``.

    For text that is shown while it is printed, piece by piece.
    """
    return _laid_flat(text, "", "") if _has_controls(text) else text


def visible_text(text: str) -> str:
    """``text`` as it looks when everything is printed."""
    if not _has_controls(text):
        return text
    text = _laid_flat(text, _ERASE_REST, _ERASE_LINE)
    if not _MOVES.search(text):
        return text
    return "\n".join([_lay_out(line)[0] if _MOVES.search(line) else line for line in text.split("\n")])


def without_overwritten(text: str) -> str:
    """A part of a text without what later characters of the same line overwrite; :func:`visible_text` shows the same.

    The first line may continue one before this part, and the last may be continued.
    """
    if "\r" not in text and "\b" not in text:
        return text
    held = _INCOMPLETE.search(text)
    end = held.start() if held else len(text)
    first, *lines = _laid_flat(text[:end], _ERASE_REST, _ERASE_LINE).split("\n")
    start, moved, rest = first.partition("\r")
    shown = [start + moved + _to_continue(rest) if moved else start, *map(_to_continue, lines)]
    return "\n".join(shown).replace(_ERASE_REST, "\x1b[K").replace(_ERASE_LINE, "\x1b[2K") + text[end:]


def _has_controls(text: str) -> bool:
    if not text.isascii():
        return _CONTROL.search(text) is not None
    data = text.encode("ascii")
    return len(data.translate(None, _ASCII_CONTROLS)) < len(data)  # a quarter of the time of a search


def _laid_flat(text: str, erase_rest: str, erase_line: str) -> str:
    """``text`` with moves within a line as single characters and without other sequences."""
    back_left = MOST_MOVES

    def replaced(found: re.Match[str]) -> str:
        nonlocal back_left
        kind, number = found["kind"], int((found["number"] or "0")[:4]) if found["kind"] else 0
        if kind == "K":
            return {0: erase_rest, 2: erase_line}.get(number, "")
        if kind == "G":
            return "\r" if number <= 1 else ""
        back = min(max(number, 1), back_left) if kind == "D" else 0
        back_left -= back
        return "\b" * back

    return _SEQUENCE.sub(replaced, text)


def _to_continue(line: str) -> str:
    """A line laid out, with the cursor moved back to where its continuation is written."""
    if not _MOVES.search(line):
        return line
    shown, cursor = _lay_out(line)
    return shown.ljust(cursor) if cursor >= len(shown) else f"{shown}\r{shown[:cursor]}"


def _lay_out(line: str) -> tuple[str, int]:
    """What is seen of a line, and the cursor's place in it."""
    cells: list[str] = []
    cursor = 0
    for part in _MOVES.split(line)[: 2 * MOST_MOVES]:
        if part and not _MOVES.match(part):
            if cursor > len(cells):
                cells.extend(" " * (cursor - len(cells)))
            cells[cursor : cursor + len(part)] = part
            cursor += len(part)
        if part == "\r":
            cursor = 0
        elif part == "\b":
            cursor = max(0, cursor - 1)
        elif part in (_ERASE_REST, _ERASE_LINE):
            del cells[cursor if part == _ERASE_REST else 0 :]
    return "".join(cells), cursor
