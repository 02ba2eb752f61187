"""The kernel's end of its connection: Jupyter messages out and in.

Contract: ``send`` only queues; ``flush`` writes everything queued with one system call. A cell's messages therefore
reach the host together, which is where most of a stock kernel's time per cell goes. An interrupt never cuts a frame in
two: while a frame is on its way a :class:`Shield` holds it back.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sandbox.guest.wire import IOPUB, READ_BYTES, Splitter, pack

REQUEST_LIMIT = 64 << 20
FLUSH_EVERY_S = 0.02
FDS = 2
"""Descriptors that come with a request at most."""


class Shield:
    """Holds an interrupt back while a frame is on its way; used as a context manager on the main thread."""

    def __init__(self) -> None:
        self.running = False
        self.pending = False
        self._depth = 0
        self._main = threading.get_ident()

    def interrupt(self) -> None:
        """What SIGINT does: ends the running cell, now or when the frame is out; nothing between cells."""
        if self.running:
            if self._depth:
                self.pending = True
            else:
                raise KeyboardInterrupt

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() == self._main:
            self._depth -= 1
            if not self._depth and self.pending:
                self.pending = False
                if self.running:
                    raise KeyboardInterrupt


class SocketPort:
    """One stream socket that carries all channels."""

    def __init__(self, sock: socket.socket | None, session: str) -> None:
        self.sock = sock
        self.session = session
        self.parent: dict[str, Any] = {}
        self.shield = Shield()
        self._lock = threading.RLock()
        self._queue = bytearray()
        self._flushed_at = 0.0
        self._count = 0
        self._splitter = Splitter(REQUEST_LIMIT)
        self._requests: deque[tuple[int, dict[str, Any]]] = deque()
        self.fds: list[int] = []
        """Descriptors that came with requests; fewer than were sent where too many are open."""
        self._room: list[int] = []

    def receive(self) -> tuple[int, dict[str, Any]]:
        """The next request as (channel, message). Raises EOFError when the host is gone."""
        while not self._requests:
            assert self.sock is not None
            self._give_room()
            data, fds, _, _ = socket.recv_fds(self.sock, READ_BYTES, FDS)
            self.fds += fds
            self._keep_room()
            if not data:
                raise EOFError
            for channel, payload in self._splitter.feed(data):
                self._requests.append((channel, json.loads(payload)))
        self._flushed_at = time.monotonic()  # what a cell prints at once is worth waiting for
        return self._requests.popleft()

    def send(
        self, channel: int, kind: str, content: dict[str, Any], parent: dict[str, Any] | None = None, **metadata: Any
    ) -> None:
        """Queues one message; ``parent`` is the header it answers, by default the cell that is running."""
        self._count += 1
        header = {
            "msg_id": f"{self.session}-{self._count}",
            "session": self.session,
            "username": "kernel",
            "date": datetime.now(UTC).isoformat(),
            "msg_type": kind,
            "version": "5.3",
        }
        parent = self.parent if parent is None else parent
        frame = pack(channel, {"header": header, "parent_header": parent, "metadata": metadata, "content": content})
        self._guarded(frame)

    def publish(self, kind: str, content: dict[str, Any], parent: dict[str, Any] | None = None) -> None:
        """Queues one iopub message and writes the queue when it is old enough to be worth a system call."""
        self.send(IOPUB, kind, content, parent)
        if self.stale():
            self.flush()

    def stale(self) -> bool:
        """Whether the last write is so long ago that a reader should not wait any longer."""
        return time.monotonic() - self._flushed_at > FLUSH_EVERY_S

    def adopt(self, fd: int, session: str) -> None:
        """Goes on with another connection, as another kernel."""
        if self.sock is not None:
            self.sock.close()
        self.sock, self.session = socket.socket(fileno=fd), session
        self._lock = threading.RLock()
        self._splitter = Splitter(REQUEST_LIMIT)
        self._requests.clear()
        self.drop()

    def _keep_room(self) -> None:
        """Holds the numbers that the descriptors of a request will need: a cell may leave no other free."""
        with suppress(OSError):  # where they are needed now
            while len(self._room) < FDS:
                self._room.append(os.dup(0))

    def _give_room(self) -> None:
        while self._room:
            with suppress(OSError):  # a cell closed it
                os.close(self._room.pop())

    def echo(self, code: str, count: int) -> None:
        """A cell begins. Told where more than one client may listen; the host knows what it asked for."""

    def hold_waiting(self) -> None:
        """A cell has failed: notes which requests wait behind it. The host makes one at a time."""

    def abort_waiting(self) -> None:
        """Answers the cells among them: they are not run."""

    def greet(self, packet: dict[str, Any]) -> None:
        """The first word on a connection, before frames."""
        assert self.sock is not None
        self.sock.send(json.dumps(packet).encode("ascii"))

    def drop(self) -> None:
        """Forgets everything queued."""
        self._queue.clear()

    def flush(self) -> None:
        """Writes everything queued; blocks while the host does not read."""
        self._guarded(b"", write=True)

    def _guarded(self, frame: bytes, write: bool = False) -> None:
        with self.shield, self._lock:
            self._queue += frame
            if write and self._queue and self.sock is not None:
                data, self._queue = self._queue, bytearray()
                self.sock.sendall(data)
                self._flushed_at = time.monotonic()
