"""The host's end of a kernel's connection: requests out, messages in, none of them trusted.

Contract: a :class:`PendingExecution` gathers the messages of one request into a result. Types, sizes and order of
messages are checked: text that is not a string is dropped, bytes count against a budget both during a cell and between
cells, messages of other cells are ignored. Host memory per cell is bounded by that budget plus one frame.
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
"""Charged per message on top of its bytes, because even an empty message takes the host's time."""
DEPTH = 100
"""Nesting levels kept of a mime bundle: programs that store results refuse more than some hundreds."""
_numbers = itertools.count(1)
OnEvent = Callable[[str, dict[str, Any]], None]
"""Called with ``("stream", {"name", "text"})``, ``("display", {"data"})``, ``("value", {"data"})``; must not raise."""


def plain(text: Any, limit: int) -> str:
    """Text that can be stored: no ANSI codes, lone surrogates escaped, at most ``limit`` characters and a marker."""
    if not isinstance(text, str):
        return ""
    if "\x1b" in text:
        text = ANSI.sub("", text)
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return shorten(text, limit + MARKER_CHARS)  # the kernel may have put a marker into it already


def plain_bundle(data: Any) -> dict[str, Any]:
    """A mime bundle that can be stored: no lone surrogates, no NaN, bounded depth. Raises TypeError for other types."""
    if not isinstance(data, dict):
        raise TypeError(f"a mime bundle is an object, not {type(data).__name__}")
    return plain_json(data)


def plain_json(value: Any, depth: int = DEPTH, finite: bool = True) -> Any:
    """Any JSON value, cleaned as in :func:`plain_bundle`; ``finite=False`` keeps NaN and infinities."""
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


def byte_budget(limits: Limits) -> int:
    """Bytes one cell may send: four texts at six bytes per escaped character, doubled for frames and headers."""
    return limits.output_chars * 48 + limits.rich_output_kib * 1024 + (1 << 20)


def next_id() -> str:
    """A message id that is unique in this process."""
    return f"host-{next(_numbers)}"


class PendingExecution:
    """One request, and what the kernel has sent for it so far."""

    def __init__(self, msg_id: str, limits: Limits, on_event: OnEvent | None = None) -> None:
        self.msg_id, self._on_event = msg_id, on_event
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fault: str | None = None
        """``output_limit`` or ``protocol_violation`` when the kernel must be killed."""
        self.text: dict[str, list[str]] = {"stdout": [], "stderr": []}
        """Pieces in order. They are joined once: joining at each message would copy the text each time."""
        self.value: str | None = None
        self.error: tuple[str, str, str] | None = None
        self.outputs: list[dict[str, Any]] = []
        self._plain_value: dict[str, Any] | None = None
        self.received = 0
        """Bytes of its messages so far."""
        self._output_chars = limits.output_chars
        self._budget = byte_budget(limits)
        self._max_brackets = CONTAINERS + 2 * limits.output_chars  # a text may consist of nothing else
        self.replied = self._idle = False

    def fail(self, fault: str) -> None:
        """Records that the kernel broke a rule, and finishes; the first fault counts."""
        self.fault = self.fault or fault
        self.finish()

    def finish(self) -> None:
        """Marks the request as done."""
        if not self.done.done():
            self.done.set_result(None)

    def charge_read(self) -> None:
        """Charges one read of the socket: a kernel that sends single bytes costs the host a loop turn for each."""
        self._budget -= FRAME_BYTES
        if self._budget < 0:
            self.fail("output_limit")

    def receive_frame(self, channel: int, payload: bytes) -> None:
        """Takes one frame from the kernel."""
        try:
            if payload.count(b"[") + payload.count(b"{") > self._max_brackets:
                raise ValueError("parsing a message with so many containers takes unbounded memory")
            self.receive_message(channel, json.loads(payload), len(payload))
        except (ValueError, RecursionError):
            self.fail("protocol_violation")

    def receive_message(self, channel: int, message: dict[str, Any], size: int) -> None:
        """Takes one message of ``size`` bytes on the wire."""
        self.received += size
        self._budget -= size + FRAME_BYTES
        if self._budget < 0:
            self.fail("output_limit")
            return
        try:
            if message["parent_header"].get("msg_id") == self.msg_id:
                self._handle(channel, message["header"]["msg_type"], message["content"])
        except (KeyError, TypeError, AttributeError):
            self.fail("protocol_violation")
        if self.replied and self._idle:
            self.finish()

    def _handle(self, channel: int, kind: str, content: dict[str, Any]) -> None:
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
                self._notify("stream", {"name": name, "text": text})
        elif kind == "execute_result":
            bundle = plain_bundle(content["data"])
            if self._plain_value is not None:  # only the last result is the cell's value
                self.outputs.append(self._plain_value)
            self._plain_value = bundle if len(bundle) == 1 else None
            self.value = plain(bundle.get("text/plain"), self._output_chars)
            if len(bundle) > 1:
                self.outputs.append(bundle)
            self._notify("value", {"data": {**bundle, "text/plain": self.value}})
        elif kind in ("display_data", "update_display_data"):
            self.outputs.append(bundle := plain_bundle(content["data"]))
            self._notify("display", {"data": dict(bundle)})
        elif kind == "error":
            traceback = plain("\n".join(content["traceback"]), self._output_chars)
            self.error = (plain(content["ename"], 200), plain(content["evalue"], 2100), traceback)
        elif kind == "status" and content["execution_state"] == "idle":
            self._idle = True

    def _notify(self, kind: str, content: dict[str, Any]) -> None:
        if self._on_event is not None:
            if kind == "stream":
                content["text"] = plain(content["text"], self._output_chars)
            self._on_event(kind, content)


class IdleBudget:
    """Bytes a kernel may send between two cells (late output of threads) before it is killed."""

    def __init__(self, process: Process, limits: Limits) -> None:
        self._process, self._total = process, byte_budget(limits)
        self.reset()

    def reset(self) -> None:
        """Restores the whole budget when a cell begins."""
        self._left = self._total

    def spend(self, size: int) -> None:
        """Charges ``size`` bytes that belong to no request."""
        self._left -= size
        if self._left < 0 and self._process.reason is None:
            self._process.reason = "it sent without end between its cells"
            self._process.kill()


class SocketConnection:
    """The connection to a light kernel, over a Unix socket pair."""

    def __init__(self, process: Process, limits: Limits) -> None:
        self._sock = process.sock
        self._limits = limits
        self._idle_budget = IdleBudget(process, limits)
        self._splitter = Splitter(byte_budget(limits))
        self._pending: PendingExecution | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._on_readable)

    async def request(self, kind: str, content: dict[str, Any], on_event: OnEvent | None = None) -> PendingExecution:
        """Sends a request; the execution returned gathers the answer until :meth:`forget`."""
        self._idle_budget.reset()
        pending = PendingExecution(next_id(), self._limits, on_event)
        self._pending = pending
        header = {"msg_id": pending.msg_id, "session": "host", "username": "host", "msg_type": kind, "version": "5.3"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        try:
            await self._loop.sock_sendall(self._sock, pack(SHELL, message))
        except OSError:
            self._on_disconnect()
        return pending

    def forget(self) -> None:
        """Drops what still arrives for the last request."""
        self._pending = None

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
            self._on_data(data)
        else:
            self._on_disconnect()

    def _on_data(self, data: bytes) -> None:
        pending = self._pending
        try:
            frames = self._splitter.feed(data)
        except FrameTooLarge:
            self.close()
            if pending is not None:
                pending.fail("protocol_violation")
            return
        if pending is None:
            self._idle_budget.spend(len(data) + FRAME_BYTES * (1 + len(frames)))
        else:
            pending.charge_read()
        for channel, payload in frames:
            if pending is not None and pending.fault is None:
                pending.receive_frame(channel, payload)

    def _on_disconnect(self) -> None:
        self.close()
        if self._pending is not None:
            self._pending.finish()
