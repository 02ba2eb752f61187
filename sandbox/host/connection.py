"""The host's end of a kernel's connection: requests out, messages in, none of them trusted.

Contract: a :class:`PendingExecution` gathers the messages of one request into a result. Types, sizes and order of
messages are checked: text that is not a string is dropped, bytes count against a budget both during a cell and between
cells, messages of other cells are ignored. Host memory per cell is bounded by that budget plus one frame.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any, cast

from sandbox.guest.wire import CONTAINERS, IOPUB, READ_BYTES, SHELL, FrameTooLarge, Splitter, pack
from sandbox.host.late_output import LateCollector
from sandbox.host.plain import plain, plain_bundle, plain_piece
from sandbox.host.process import Process
from sandbox.limits import Limits
from sandbox.result import LateOutput

FRAME_BYTES = 256
"""Charged per message on top of its bytes, because even an empty message takes the host's time."""
_numbers = itertools.count(1)
OnEvent = Callable[[str, dict[str, Any]], None]
"""Called with ``("stream", {"name", "text"})``, ``("display", {"data"})``, ``("value", {"data"})``; must not raise."""


def byte_budget(limits: Limits) -> int:
    """Bytes one cell may send: four texts at six bytes per escaped character, doubled for frames and headers."""
    return limits.output_chars * 48 + limits.rich_output_kib * 1024 + (1 << 20)


def next_id() -> str:
    """A message id that is unique in this process."""
    return f"host-{next(_numbers)}"


class PendingExecution:
    """One request, and what the kernel has sent for it so far."""

    def __init__(
        self, msg_id: str, limits: Limits, on_event: OnEvent | None = None, late: LateCollector | None = None
    ) -> None:
        """``late``: takes output of earlier cells."""
        self.msg_id, self._on_event, self._late = msg_id, on_event, late
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.fault: str | None = None
        """``output_limit`` or ``protocol_violation`` when the kernel must be killed."""
        self.text: dict[str, list[str]] = {"stdout": [], "stderr": []}
        """Pieces in order. They are joined once: joining at each message would copy the text each time."""
        self.notes: list[str] = []
        """What the host has to say about the cell, shown at the end of ``stderr``."""
        self.missing, self.missing_chars = "", cast(int | None, 0)
        """See :attr:`sandbox.CellResult.missing`."""
        self.late_output: tuple[LateOutput, ...] = ()
        """Output of earlier cells."""
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
            elif self._late is not None:
                self._late.take(channel, message)
        except (KeyError, TypeError, AttributeError):
            self.fail("protocol_violation")
        if self.replied and self._idle:
            self.finish()

    def _handle(self, channel: int, kind: str, content: dict[str, Any]) -> None:
        if channel == SHELL:
            self.replied = True
            if self._late is not None:
                self._late.remember(self.msg_id, content.get("execution_count"))
        elif channel != IOPUB:
            return
        elif kind == "stream":
            if content["name"] in self.text:
                name, text = content["name"], content["text"]
                if not isinstance(text, str):
                    raise TypeError(f"text is a string, not {type(text).__name__}")
                self.add_text(name, text)
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

    def add_text(self, name: str, text: str) -> None:
        """Adds a piece of text to a stream."""
        self.text[name].append(text)
        self._notify("stream", {"name": name, "text": text})

    def _notify(self, kind: str, content: dict[str, Any]) -> None:
        if self._on_event is not None:
            if kind == "stream":
                content["text"] = plain_piece(content["text"], self._output_chars)
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
        self.late = LateCollector(limits)
        """Output of cells that have ended."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._on_readable)

    async def request(self, kind: str, content: dict[str, Any], on_event: OnEvent | None = None) -> PendingExecution:
        """Sends a request; the execution returned gathers the answer until :meth:`forget`."""
        self._idle_budget.reset()
        pending = PendingExecution(next_id(), self._limits, on_event, self.late)
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

    def drain(self) -> None:
        """Reads what a dead kernel has written."""
        while self._pending is not None and self._pending.fault is None:
            try:
                data = self._sock.recv(READ_BYTES)
            except OSError:
                return
            if not data:
                return
            self._on_data(data)

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
            if pending is None:
                self.late.take_frame(channel, payload)
            elif pending.fault is None:
                pending.receive_frame(channel, payload)

    def _on_disconnect(self) -> None:
        self.close()
        if self._pending is not None:
            self._pending.finish()
