"""The host's end of a kernel that speaks ZeroMQ: stock ipykernel behind the same handle.

Contract: the interface of :class:`sandbox.host.connection.SocketConnection`. Host memory is bounded: a message above
the byte budget cuts the connection, what a cell sends counts against its budget, and unread messages stay in the kernel
(high-water mark). Waits for ``iopub_welcome`` before the first cell, because a subscriber that joins late misses
``idle``.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from sandbox.guest.wire import IOPUB, SHELL
from sandbox.host.connection import (
    FRAME_BYTES,
    IdleBudget,
    OnEvent,
    PendingExecution,
    SocketConnection,
    byte_budget,
    next_id,
)
from sandbox.host.endpoints import Endpoints
from sandbox.host.late_output import LateCollector
from sandbox.host.process import Process
from sandbox.limits import Limits
from sandbox.result import SandboxError

DELIMITER = b"<IDS|MSG>"
CONNECT_TIMEOUT_S = 30.0
DEATH_GRACE_S = 0.5


async def open_connection(process: Process, limits: Limits) -> SocketConnection | ZmqConnection:
    """Connects by the protocol this process speaks. Raises :class:`SandboxError` when it does not answer."""
    if process.endpoints is None:
        return SocketConnection(process, limits)
    connection = ZmqConnection(process, process.endpoints, limits)
    ends = {connection.welcomed, asyncio.shield(process.exited)}
    await asyncio.wait(ends, timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    if not connection.welcomed.done():
        connection.close()
        raise SandboxError(f"the kernel did not answer on its sockets: {_last_words(process)}")
    return connection


def _last_words(process: Process) -> str:
    try:
        return process.sock.recv(4096).decode("utf-8", "replace")
    except BlockingIOError:
        return "it runs and sends nothing"


class ZmqConnection:
    """One client of one kernel: shell and iopub."""

    def __init__(self, process: Process, endpoints: Endpoints, limits: Limits) -> None:
        self._process, self._limits = process, limits
        self._key = endpoints.info["key"].encode()
        self._context = zmq.asyncio.Context()
        self._shell = self._connect(zmq.DEALER, endpoints.address("shell"))
        self._iopub = self._connect(zmq.SUB, endpoints.address("iopub"))
        self._iopub.subscribe(b"")
        self._pending: PendingExecution | None = None
        self._idle_budget = IdleBudget(process, limits)
        self.late = LateCollector(limits)
        """Output of cells that have ended."""
        self.welcomed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        """Done when the kernel has greeted the subscriber."""
        self._tasks = [
            asyncio.ensure_future(self._read(channel, sock))
            for channel, sock in ((SHELL, self._shell), (IOPUB, self._iopub))
        ]
        self._tasks.append(asyncio.ensure_future(self._watch_for_disconnect()))

    async def request(self, kind: str, content: dict[str, Any], on_event: OnEvent | None = None) -> PendingExecution:
        """Sends a request; the execution returned gathers the answer until :meth:`forget`."""
        self._idle_budget.reset()
        pending = PendingExecution(next_id(), self._limits, on_event, self.late)
        self._pending = pending
        header = {"msg_id": pending.msg_id, "session": "host", "username": "host", "msg_type": kind, "version": "5.3"}
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        await self._shell.send_multipart([DELIMITER, self._sign(parts), *parts])
        return pending

    def forget(self) -> None:
        """Drops what still arrives for the last request."""
        self._pending = None

    def drain(self) -> None:
        """Does nothing: what has arrived of a dead kernel is read already."""

    def close(self) -> None:
        """Closes the sockets."""
        for task in self._tasks:
            task.cancel()
        self._context.destroy(linger=0)

    def _connect(self, kind: int, address: str) -> zmq.asyncio.Socket:
        sock = self._context.socket(kind)
        sock.linger = 0
        sock.rcvhwm = 100
        sock.maxmsgsize = byte_budget(self._limits)
        sock.connect(address)
        return sock

    def _sign(self, parts: list[bytes]) -> bytes:
        return hmac.new(self._key, b"".join(parts), hashlib.sha256).hexdigest().encode()

    async def _watch_for_disconnect(self) -> None:
        """ZeroMQ disconnects on a message above the limit; the death of the kernel looks the same at first."""
        monitor = self._iopub.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        await recv_monitor_message(monitor)
        await asyncio.wait([self._process.exited], timeout=DEATH_GRACE_S)
        if self._pending is not None and not self._process.exited.done():
            self._pending.fail("output_limit")

    async def _read(self, channel: int, sock: zmq.asyncio.Socket) -> None:
        while True:
            parts = await sock.recv_multipart()
            pending = self._pending
            if pending is None:
                self._idle_budget.spend(sum(map(len, parts)) + FRAME_BYTES)
            try:
                start = parts.index(DELIMITER) + 1
                body = parts[start + 1 : start + 5]
                if not hmac.compare_digest(parts[start], self._sign(body)):
                    raise ValueError("wrong signature")
                header, parent, metadata, content = read = [json.loads(part) for part in body]
                if not all(isinstance(part, dict) for part in read):
                    raise ValueError("a part is not an object")
            except (ValueError, IndexError, RecursionError):
                if pending is not None:
                    pending.fail("protocol_violation")
                continue
            if header.get("msg_type") == "iopub_welcome" and not self.welcomed.done():
                self.welcomed.set_result(None)
                continue
            message = {"header": header, "parent_header": parent, "metadata": metadata, "content": content}
            if pending is None:
                self.late.take_message(channel, message)
            else:
                pending.receive_message(channel, message, sum(map(len, parts)))
