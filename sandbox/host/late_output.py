"""Gathers what threads, tasks and children of earlier cells print, for the result of the next cell.

Contract: messages of other cells than the running one arrive here, between cells and during one. Text is kept by cell
and stream, in the order of the first piece, each at most as long as a stream of a result. The number of a cell is the
one in its tracebacks; it is known for the last ``KNOWN_CELLS`` cells.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from sandbox.guest.wire import IOPUB
from sandbox.host.plain import plain
from sandbox.limits import Limits
from sandbox.result import LateOutput, Stream

KNOWN_CELLS = 256
MOST_SOURCES = 32
"""Pairs of cell and stream kept apart between two results; the text of others counts as that of an unknown cell."""


class LateCollector:
    """Of one kernel."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.output_chars
        self._numbers: dict[str, int] = {}
        self._text: dict[tuple[int | None, Stream], str] = {}

    def remember(self, msg_id: str, number: Any) -> None:
        """Notes the number of a cell that has ended."""
        if isinstance(number, int) and not isinstance(number, bool):
            self._numbers[msg_id] = number
            if len(self._numbers) > KNOWN_CELLS:
                del self._numbers[next(iter(self._numbers))]

    def take_frame(self, channel: int, payload: bytes) -> None:
        """Takes a frame that arrived between two cells; one that is no message is ignored."""
        if channel == IOPUB and b'"stream"' in payload and payload.count(b"[") + payload.count(b"{") < 1000:
            with suppress(ValueError, RecursionError):
                self.take_message(channel, json.loads(payload))

    def take_message(self, channel: int, message: Any) -> None:
        """As :meth:`take`, for a message that may have any form."""
        with suppress(KeyError, TypeError, AttributeError):
            self.take(channel, message)

    def take(self, channel: int, message: dict[str, Any]) -> None:
        """Takes a message of a cell that is not running; keeps the text of streams."""
        if channel != IOPUB or message["header"]["msg_type"] != "stream":
            return
        name, text = message["content"]["name"], message["content"]["text"]
        if name not in ("stdout", "stderr") or not isinstance(text, str):
            return
        key = (self._numbers.get(str(message["parent_header"].get("msg_id"))), name)
        if key not in self._text and len(self._text) >= MOST_SOURCES:
            key = (None, name)
        self._text[key] = (self._text.get(key, "") + text)[-4 * self._limit :]

    def collect(self) -> tuple[LateOutput, ...]:
        """What has arrived since the last call."""
        if not self._text:
            return ()
        text, self._text = self._text, {}
        found = [(cell, name, plain(late, self._limit)) for (cell, name), late in text.items()]
        return tuple(LateOutput(cell=cell, stream=name, text=late) for cell, name, late in found if late)
