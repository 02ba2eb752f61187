"""The JSON values of a text: one a line, pretty-printed one after another, or the items of an array.

Contract: every value is yielded with its place: the number of the line it starts in, or its number in the array. Values
that are not valid JSON are yielded as they stand, for ``parse`` to name. Cost: one block of text and one value in
memory, so that an array of gigabytes on a single line can be read. The module does not interpret the values.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from functools import partial

LONGEST_VALUE = 2**28
"""Bytes of a line, or characters of a value, beyond which a file is taken for something other than JSON."""
BLOCK_CHARS = 2**20

_BETWEEN = re.compile(r"[\s,\[\]]*")
_SHOWN_CHARS = 1000
_LONGEST_TOKEN = 8  # characters at the end of a text that may be the beginning of a literal or an escape
_decoder = json.JSONDecoder()


def json_values(stream: io.BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Yields ``(place, value)``; complete values end in a newline.

    Raises ``ValueError`` for a value of more than ``LONGEST_VALUE``, and for an array with an item that is no JSON.
    """
    lines, blank = iter(partial(stream.readline, LONGEST_VALUE), b""), 0
    while _first_char(stream) != b"[":
        line = next(lines, None)
        if line is None:
            return
        if line.isspace():
            blank += 1
        elif _is_begun(_checked(line, blank + 1)):
            yield from _Splitter(stream, line, blank + 1).values()
            return
        else:
            yield from _lines(line, blank + 1, lines)
            return
    yield from _Splitter(stream, b"", None).values()


def is_array(stream: io.BufferedReader) -> bool:
    """Whether the text is an array, so that places are numbers of items; reads nothing."""
    return _first_char(stream) == b"["


def _first_char(stream: io.BufferedReader) -> bytes:
    return stream.peek(1).lstrip()[:1]


def _lines(first: bytes, start: int, lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    yield start, first
    for number, line in enumerate(lines, start + 1):
        if not line.isspace():
            yield number, _checked(line, number)


def _checked(line: bytes, number: int) -> bytes:
    if len(line) >= LONGEST_VALUE:
        raise ValueError(f"line {number} is longer than {LONGEST_VALUE >> 20} MiB; give a file of JSON records")
    return line


def _is_begun(line: bytes) -> bool:
    """Whether a line is the beginning of a value that goes on in the next line."""
    text = line.decode("utf-8", "replace").rstrip()
    try:
        _decoder.raw_decode(text.lstrip())
    except json.JSONDecodeError as error:
        return error.pos >= len(text.lstrip()) and not error.msg.startswith("Unterminated")
    except RecursionError:
        pass
    return False


class _Splitter:
    """Splits a text at the ends of its values; ``line`` is the number of the first line, ``None`` in an array."""

    def __init__(self, stream: io.BufferedReader, begun: bytes, line: int | None):
        self._text = io.TextIOWrapper(stream, "utf-8", errors="surrogateescape", newline="")
        self._buffer = begun.decode("utf-8", "surrogateescape")
        self._at = 0  # where the next value begins
        self._line, self._items, self._open = line, 0, 0

    def values(self) -> Iterator[tuple[int, bytes]]:
        """Each value and its place."""
        while self._skip_between():
            try:
                _, end = _decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if self._may_go_on(error):
                    if self._read_on():
                        continue
                    yield self._place(), self._encoded(len(self._buffer))  # the file ends within a value
                    return
                yield self._place(), self._skip_broken(error) + b"\n"
            except RecursionError:
                raise ValueError(f"{self._where()}: nested too deeply; give a file of JSON records") from None
            else:
                yield self._place(), self._encoded(end) + b"\n"
                self._pass(end)
        if self._open > 0:
            yield self._place(), b"["  # the array is not closed: its end is missing

    def _skip_between(self) -> bool:
        """Go to the next value; whether there is one."""
        while True:
            between = _BETWEEN.match(self._buffer, self._at)
            assert between is not None
            self._open += between[0].count("[") - between[0].count("]")
            self._pass(between.end(), item=False)
            if self._at < len(self._buffer):
                return True
            if not self._read_on():
                return False

    def _pass(self, end: int, *, item: bool = True) -> None:
        self._items += item
        if self._line is not None:
            self._line += self._buffer.count("\n", self._at, end)
        self._at = end

    def _read_on(self) -> bool:
        """Read at least as much again, so that a long value is tried few times."""
        left = len(self._buffer) - self._at
        if left > LONGEST_VALUE:
            raise ValueError(f"{self._where()}: longer than {LONGEST_VALUE >> 20} MiB; give a file of JSON records")
        more = self._text.read(max(BLOCK_CHARS, left))
        self._buffer, self._at = self._buffer[self._at :] + more, 0
        return bool(more)

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated") or error.pos >= len(self._buffer) - _LONGEST_TOKEN

    def _skip_broken(self, error: json.JSONDecodeError) -> bytes:
        """The beginning of a value that is no JSON; goes to the next line that begins with a brace."""
        if self._line is None:
            raise ValueError(
                f"{self._where()}: {error.msg}; the file is one JSON array, so nothing after this can be read; mend it"
            )
        shown = self._encoded(self._at + _SHOWN_CHARS)
        searched = max(error.pos - 1, self._at)
        while (found := self._buffer.find("\n{", searched)) < 0:
            self._pass(len(self._buffer) - 1, item=False)
            searched = 0
            if not self._read_on():
                found = len(self._buffer) - 1
                break
        self._pass(found + 1)
        return shown

    def _place(self) -> int:
        return self._items + 1 if self._line is None else self._line

    def _where(self) -> str:
        return f"{'record' if self._line is None else 'line'} {self._place()}"

    def _encoded(self, end: int) -> bytes:
        return self._buffer[self._at : end].encode("utf-8", "surrogateescape")
