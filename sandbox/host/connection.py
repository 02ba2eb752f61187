"""The host's side of a cell: what the kernel sends, believed only as far as it must be.

Contract: a :class:`Cell` gathers the messages of one request into a result. It takes types, sizes and order for
granted nowhere: text that is no text is dropped, bytes are counted against a budget, in a cell and between two,
messages of other cells are ignored. Host memory per cell is bounded by ``budget`` plus one frame.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
from collections.abc import Callable
from typing import Any

from sandbox.guest.streams import shorten
from sandbox.guest.wire import CONTAINERS, IOPUB, READ_BYTES, SHELL, FrameTooLarge, Splitter, pack
from sandbox.host.process import Process
from sandbox.limits import Limits

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
MARKER_CHARS = 60
FRAME_BYTES = 256
"""What a message counts beside its own bytes: an empty one takes the host's time, too."""
DEPTH = 100
"""Levels of a mime bundle that are kept: what stores results refuses more than some hundreds."""
_numbers = itertools.count(1)
OnEvent = Callable[[str, dict[str, Any]], None]
"""Hears ``("stream", {"name", "text"})``, ``("display", {"data"})`` and ``("value", {"data"})``; must not raise."""


def plain(text: Any, keep: int) -> str:
    """Text fit to be stored: no ANSI codes, lone surrogates escaped, at most ``keep`` characters and a marker."""
    if not isinstance(text, str):
        return ""
    if "\x1b" in text:
        text = ANSI.sub("", text)
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return shorten(text, keep + MARKER_CHARS)  # the kernel's own marker may be in it


def plain_bundle(data: Any) -> dict[str, Any]:
    """A mime bundle fit to be stored: no lone surrogates, no NaN, not too deep. Raises TypeError for what is none."""
    if not isinstance(data, dict):
        raise TypeError(f"a mime bundle is an object, not {type(data).__name__}")
    return plain_json(data)


def plain_json(value: Any, depth: int = DEPTH, finite: bool = True) -> Any:
    """JSON as in :func:`plain_bundle`, of any kind; with NaN where that need not be ``finite``."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) or not finite else str(value)
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return "..."
    if isinstance(value, dict):
        return {plain_json(key, 0): plain_json(inner, depth - 1, finite) for key, inner in value.items()}
    return [plain_json(inner, depth - 1, finite) for inner in value]


def frame_limit(limits: Limits) -> int:
    """Bytes one cell may send: four texts at six bytes to the escaped character, doubled for frames and headers."""
    return limits.output_chars * 48 + limits.rich_output_kib * 1024 + (1 << 20)


def next_id() -> str:
    """A message id of this process."""
    return f"host-{next(_numbers)}"


class Cell:
    """One request and what has come back for it so far."""

    def __init__(self, msg_id: str, limits: Limits, on_event: OnEvent | None = None) -> None:
        self.msg_id, self._on_event = msg_id, on_event
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fault: str | None = None
        """``output_limit`` or ``protocol_violation`` when the kernel must be killed."""
        self.text: dict[str, list[str]] = {"stdout": [], "stderr": []}
        """Pieces, in order: joined one by one they would be copied as often as there are messages."""
        self.value: str | None = None
        self.error: tuple[str, str, str] | None = None
        self.outputs: list[dict[str, Any]] = []
        self._plain_value: dict[str, Any] | None = None
        self.received = 0
        """Bytes of its messages so far."""
        self._keep = limits.output_chars
        self._budget = frame_limit(limits)
        self._most_brackets = CONTAINERS + 2 * limits.output_chars  # a text may consist of nothing else
        self.replied = self._idle = False

    def fail(self, fault: str) -> None:
        """The kernel broke a rule; the first fault stands."""
        self.fault = self.fault or fault
        self.finish()

    def finish(self) -> None:
        """Nothing more is awaited."""
        if not self.done.done():
            self.done.set_result(None)

    def read(self) -> None:
        """Bytes have come for it; few at a time they are many turns of the host."""
        self._budget -= FRAME_BYTES
        if self._budget < 0:
            self.fail("output_limit")

    def take(self, channel: int, payload: bytes) -> None:
        """One frame from the kernel."""
        try:
            if payload.count(b"[") + payload.count(b"{") > self._most_brackets:
                raise ValueError("a message of so many lists that reading it takes memory without bound")
            self.take_message(channel, json.loads(payload), len(payload))
        except (ValueError, RecursionError):
            self.fail("protocol_violation")

    def take_message(self, channel: int, message: dict[str, Any], size: int) -> None:
        """One message of ``size`` bytes on the wire."""
        self.received += size
        self._budget -= size + FRAME_BYTES
        if self._budget < 0:
            self.fail("output_limit")
            return
        try:
            if message["parent_header"].get("msg_id") == self.msg_id:
                self._take(channel, message["header"]["msg_type"], message["content"])
        except (KeyError, TypeError, AttributeError):
            self.fail("protocol_violation")
        if self.replied and self._idle:
            self.finish()

    def _take(self, channel: int, kind: str, content: dict[str, Any]) -> None:
        if channel == SHELL:
            self.replied = True
        elif channel != IOPUB:
            return
        elif kind == "stream":
            if content["name"] in self.text:
                name, text = content["name"], content["text"]
                if not isinstance(text, str):
                    raise TypeError(f"text is a string, not {type(text).__name__}")
                self.text[name].append(text)
                self._tell("stream", {"name": name, "text": text})
        elif kind == "execute_result":
            bundle = plain_bundle(content["data"])
            if self._plain_value is not None:  # only the last can be the value
                self.outputs.append(self._plain_value)
            self._plain_value = bundle if len(bundle) == 1 else None
            self.value = plain(bundle.get("text/plain"), self._keep)
            if len(bundle) > 1:
                self.outputs.append(bundle)
            self._tell("value", {"data": {**bundle, "text/plain": self.value}})
        elif kind in ("display_data", "update_display_data"):
            self.outputs.append(bundle := plain_bundle(content["data"]))
            self._tell("display", {"data": dict(bundle)})
        elif kind == "error":
            lines = "\n".join(content["traceback"])
            self.error = (plain(content["ename"], 200), plain(content["evalue"], 2100), plain(lines, self._keep))
        elif kind == "status" and content["execution_state"] == "idle":
            self._idle = True

    def _tell(self, kind: str, content: dict[str, Any]) -> None:
        if self._on_event is not None:
            if kind == "stream":
                content["text"] = plain(content["text"], self._keep)
            self._on_event(kind, content)


class IdleBudget:
    """What a kernel may send between two cells, as late messages of threads, before it is killed."""

    def __init__(self, process: Process, limits: Limits) -> None:
        self._process, self._whole = process, frame_limit(limits)
        self.renew()

    def renew(self) -> None:
        """A cell begins."""
        self._left = self._whole

    def spend(self, size: int) -> None:
        """So many bytes have come that nobody asked for."""
        self._left -= size
        if self._left < 0 and self._process.reason is None:
            self._process.reason = "it sent without end between its cells"
            self._process.kill()


class Line:
    """The host's end of a kernel's connection."""

    def __init__(self, process: Process, limits: Limits) -> None:
        self._sock = process.line
        self._limits = limits
        self._idle = IdleBudget(process, limits)
        self._splitter = Splitter(frame_limit(limits))
        self._cell: Cell | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._on_readable)

    async def request(self, kind: str, content: dict[str, Any], on_event: OnEvent | None = None) -> Cell:
        """Sends a request; the returned cell gathers the answer until :meth:`forget`."""
        self._idle.renew()
        cell = Cell(next_id(), self._limits, on_event)
        self._cell = cell
        header = {"msg_id": cell.msg_id, "session": "host", "username": "host", "msg_type": kind, "version": "5.3"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        try:
            await self._loop.sock_sendall(self._sock, pack(SHELL, message))
        except OSError:
            self._closed()
        return cell

    def forget(self) -> None:
        """The cell is over: what still comes for it is dropped."""
        self._cell = None

    def close(self) -> None:
        """Stops reading."""
        self._loop.remove_reader(self._sock.fileno())

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self._closed()

    def _take(self, data: bytes) -> None:
        cell = self._cell
        try:
            frames = self._splitter.feed(data)
        except FrameTooLarge:
            self.close()
            if cell is not None:
                cell.fail("protocol_violation")
            return
        if cell is None:
            self._idle.spend(len(data) + FRAME_BYTES * (1 + len(frames)))
        else:
            cell.read()
        for channel, payload in frames:
            if cell is not None and cell.fault is None:
                cell.take(channel, payload)

    def _closed(self) -> None:
        self.close()
        if self._cell is not None:
            self._cell.finish()
