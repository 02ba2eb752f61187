"""Text that threads, tasks and children print after their cell has ended.

Contract: it is published as an output of the cell it came from, where that is known, and never of the cell that runs.
Complete lines are sent at once, whether a cell runs or not, so nothing waits for a cell that may never come. Between
the begins of two cells, ``keep`` characters are sent and the others counted.
"""

from __future__ import annotations

import threading
from typing import Any

from sandbox.guest.cell_text import marker
from sandbox.guest.connection import SocketTransport

KNOWN_CELLS = 256
"""Cells whose late text is attributed to them."""
MAX_SENDS = 500
"""Messages between the begins of two cells; later text waits for the next cell."""


class LateText:
    """Late text of one stream."""

    def __init__(self, name: str, transport: SocketTransport, keep: int) -> None:
        self._name, self._transport, self._keep = name, transport, keep
        self._parents: dict[int, dict[str, Any]] = {}
        self._cell, self._text = 0, ""
        self.adopt()
        self._renew()

    def adopt(self) -> None:
        """Continues in a forked kernel, in which no thread of the other one holds the lock."""
        self._lock = threading.RLock()

    def begin(self, cell: int, parent: dict[str, Any]) -> None:
        """A new cell begins: sends what has waited, and allows for as much again."""
        if self._text or self._omitted:
            with self._lock:
                if self._omitted:
                    self._text += marker(self._omitted)
                self._send()
        self._renew()
        self._parents[cell] = parent
        if len(self._parents) > KNOWN_CELLS:
            del self._parents[next(iter(self._parents))]

    def write(self, cell: int, text: str) -> None:
        """Takes text of a cell that has ended; 0 is for one that is not known."""
        with self._lock:
            if cell != self._cell:
                self._send()
                self._cell = cell
            now = text[: self._left]
            self._left -= len(now)
            self._omitted += len(text) - len(now)
            self._text += now
            if "\n" in now and self._sends_left > 0:
                self._send()

    def push(self) -> None:
        """Sends an incomplete line, too."""
        if self._text and self._sends_left > 0:
            with self._lock:
                self._send()

    def _renew(self) -> None:
        self._left, self._omitted, self._sends_left = self._keep, 0, MAX_SENDS

    def _send(self) -> None:
        text, self._text = self._text, ""
        if text:
            self._sends_left -= 1
            self._transport.publish("stream", {"name": self._name, "text": text}, self._parents.get(self._cell, {}))
            self._transport.flush()
