"""The host's end of a kernel that speaks ZeroMQ: stock ipykernel behind the same handle.

Contract: the interface of :class:`sandbox.host.connection.Line`. Bounded on the host's side: a message above the frame
limit cuts the connection, what a cell sends counts against its budget, and what has not been read stays in the kernel
(high-water mark). Waits for ``iopub_welcome`` before the first cell, as a subscriber that joins late misses ``idle``.
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
from sandbox.host.connection import FRAME_BYTES, Cell, IdleBudget, Line, OnEvent, frame_limit, next_id
from sandbox.host.endpoints import Endpoints
from sandbox.host.process import Process
from sandbox.limits import Limits
from sandbox.result import SandboxError

DELIMITER = b"<IDS|MSG>"
CONNECT_TIMEOUT_S = 30.0
DEATH_GRACE_S = 0.5


async def open_line(process: Process, limits: Limits) -> Line | ZmqLine:
    """The connection this process speaks."""
    if process.endpoints is None:
        return Line(process, limits)
    line = ZmqLine(process, process.endpoints, limits)
    ends = {line.welcomed, asyncio.shield(process.exited)}
    await asyncio.wait(ends, timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    if not line.welcomed.done():
        line.close()
        raise SandboxError(f"the kernel did not answer on its sockets: {_last_words(process)}")
    return line


def _last_words(process: Process) -> str:
    try:
        return process.line.recv(4096).decode("utf-8", "replace")
    except BlockingIOError:
        return "it is running and silent"


class ZmqLine:
    """One client of one kernel: shell and iopub."""

    def __init__(self, process: Process, endpoints: Endpoints, limits: Limits) -> None:
        self._process, self._limits = process, limits
        self._key = endpoints.info["key"].encode()
        self._context = zmq.asyncio.Context()
        self._shell = self._connect(zmq.DEALER, endpoints.address("shell"))
        self._iopub = self._connect(zmq.SUB, endpoints.address("iopub"))
        self._iopub.subscribe(b"")
        self._cell: Cell | None = None
        self._idle = IdleBudget(process, limits)
        self.welcomed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._tasks = [
            asyncio.ensure_future(self._read(channel, sock))
            for channel, sock in ((SHELL, self._shell), (IOPUB, self._iopub))
        ]
        self._tasks.append(asyncio.ensure_future(self._watch_for_cuts()))

    async def request(self, kind: str, content: dict[str, Any], on_event: OnEvent | None = None) -> Cell:
        """Sends a request; the returned cell gathers the answer until :meth:`forget`."""
        self._idle.renew()
        cell = Cell(next_id(), self._limits, on_event)
        self._cell = cell
        header = {"msg_id": cell.msg_id, "session": "host", "username": "host", "msg_type": kind, "version": "5.3"}
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        await self._shell.send_multipart([DELIMITER, self._sign(parts), *parts])
        return cell

    def forget(self) -> None:
        """The cell is over: what still comes for it is dropped."""
        self._cell = None

    def close(self) -> None:
        """Closes the sockets."""
        for task in self._tasks:
            task.cancel()
        self._context.destroy(linger=0)

    def _connect(self, kind: int, address: str) -> zmq.asyncio.Socket:
        sock = self._context.socket(kind)
        sock.linger = 0
        sock.rcvhwm = 100
        sock.maxmsgsize = frame_limit(self._limits)
        sock.connect(address)
        return sock

    def _sign(self, parts: list[bytes]) -> bytes:
        return hmac.new(self._key, b"".join(parts), hashlib.sha256).hexdigest().encode()

    async def _watch_for_cuts(self) -> None:
        """ZeroMQ answers a message above the limit by cutting the connection; so does a kernel that dies."""
        monitor = self._iopub.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        await recv_monitor_message(monitor)
        await asyncio.wait([self._process.exited], timeout=DEATH_GRACE_S)
        if self._cell is not None and not self._process.exited.done():
            self._cell.fail("output_limit")

    async def _read(self, channel: int, sock: zmq.asyncio.Socket) -> None:
        while True:
            parts = await sock.recv_multipart()
            cell = self._cell
            if cell is None:
                self._idle.spend(sum(map(len, parts)) + FRAME_BYTES)
            try:
                start = parts.index(DELIMITER) + 1
                body = parts[start + 1 : start + 5]
                if not hmac.compare_digest(parts[start], self._sign(body)):
                    raise ValueError("wrong signature")
                header, parent, metadata, content = read = [json.loads(part) for part in body]
                if not all(isinstance(part, dict) for part in read):
                    raise ValueError("a part that is no object")
            except (ValueError, IndexError, RecursionError):
                if cell is not None:
                    cell.fail("protocol_violation")
                continue
            if header.get("msg_type") == "iopub_welcome" and not self.welcomed.done():
                self.welcomed.set_result(None)
            elif cell is not None:
                message = {"header": header, "parent_header": parent, "metadata": metadata, "content": content}
                cell.take_message(channel, message, sum(map(len, parts)))
