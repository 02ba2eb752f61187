"""The kernel's end of its connection to the host: sends and receives Jupyter messages.

Contract: ``send`` only queues; ``flush`` writes everything queued with one system call. The messages of a cell thus
reach the host together; separate writes are most of a stock kernel's time per cell. An interrupt never splits a frame:
:class:`InterruptShield` delays it until the frame is written.
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

MAX_REQUEST_BYTES = 64 << 20
FLUSH_EVERY_S = 0.02
MAX_FDS = 2
"""The most descriptors one request carries."""


class InterruptShield:
    """Delays interrupts inside its ``with`` block, on the main thread."""

    def __init__(self) -> None:
        self.running = False
        self.pending = False
        self._depth = 0
        self._main = threading.get_ident()

    def interrupt(self) -> None:
        """Handles SIGINT: interrupts the running cell, now or at the end of the block; does nothing between cells."""
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


class SocketTransport:
    """Carries all channels over one stream socket."""

    def __init__(self, sock: socket.socket | None, session: str) -> None:
        self.sock = sock
        self.session = session
        self.parent: dict[str, Any] = {}
        self.shield = InterruptShield()
        self._lock = threading.RLock()
        self._queue = bytearray()
        self._outgoing: tuple[bytes, list[int]] = b"", []
        """Bytes that are being written, and the sizes of the parts that have been written."""
        self._flushed_at = 0.0
        self._count = 0
        self._splitter = Splitter(MAX_REQUEST_BYTES)
        self._requests: deque[tuple[int, dict[str, Any]]] = deque()
        self.fds: list[int] = []
        """Descriptors received with requests; fewer than were sent when too many are open."""
        self._reserved_fds: list[int] = []

    def receive(self) -> tuple[int, dict[str, Any]]:
        """The next request as (channel, message). Raises EOFError when the host has closed the connection."""
        while not self._requests:
            assert self.sock is not None
            self._release_fds()
            data, fds, _, _ = socket.recv_fds(self.sock, READ_BYTES, MAX_FDS)
            self.fds += fds
            self._reserve_fds()
            if not data:
                raise EOFError
            for channel, payload in self._splitter.feed(data):
                self._requests.append((channel, json.loads(payload)))
        self._flushed_at = time.monotonic()  # output in a cell's first moments waits for more
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
        self._write(frame)

    def publish(self, kind: str, content: dict[str, Any], parent: dict[str, Any] | None = None) -> None:
        """Queues one iopub message and writes the queue when it is old enough to be worth a system call."""
        self.send(IOPUB, kind, content, parent)
        if self.stale():
            self.flush()

    def stale(self) -> bool:
        """Whether the last write is more than ``FLUSH_EVERY_S`` ago."""
        return time.monotonic() - self._flushed_at > FLUSH_EVERY_S

    def adopt(self, fd: int, session: str) -> None:
        """Switches to another connection, in a forked kernel."""
        if self.sock is not None:
            self.sock.close()
        self.sock, self.session = socket.socket(fileno=fd), session
        self._lock = threading.RLock()
        self._splitter = Splitter(MAX_REQUEST_BYTES)
        self._requests.clear()
        self.drop()

    def receive_descriptor(self) -> int:
        """The one descriptor that the host sent on this connection before any request, in a forked kernel."""
        assert self.sock is not None
        self._release_fds()
        _, (fd,), _, _ = socket.recv_fds(self.sock, 1, 1)
        return fd

    def _reserve_fds(self) -> None:
        """Keeps descriptor numbers free for the next request's descriptors, because a cell may use up all others."""
        with suppress(OSError):  # no number is free
            while len(self._reserved_fds) < MAX_FDS:
                self._reserved_fds.append(os.dup(0))

    def _release_fds(self) -> None:
        while self._reserved_fds:
            with suppress(OSError):  # a cell closed it
                os.close(self._reserved_fds.pop())

    def publish_input(self, code: str, count: int) -> None:
        """Publishes a cell's code. Does nothing here: the host, the only client, knows it."""

    def hold_queued(self) -> None:
        """After a failed cell: notes which requests are queued. Does nothing here: the host sends one at a time."""

    def abort_queued(self) -> None:
        """Answers the noted cells as aborted, without running them."""

    def send_hello(self, packet: dict[str, Any]) -> None:
        """Sends the first packet on a connection, before any frame."""
        assert self.sock is not None
        self.sock.send(json.dumps(packet).encode("ascii"))

    def drop(self) -> None:
        """Discards everything queued."""
        self._queue.clear()
        self._outgoing = b"", []

    def flush(self) -> None:
        """Writes everything queued; blocks while the host does not read."""
        self._write(b"", write=True)

    def _write(self, frame: bytes, write: bool = False) -> None:
        """Queues a frame, and writes the queue if asked.

        A signal handler of the cell may raise anywhere; the next call then writes the rest. Nothing is lost or written
        twice: Python runs handlers between instructions that call or jump, so it stores both halves of an assignment,
        and ``list.extend(map(...))`` makes the call and stores its result in one step in C.
        """
        with self.shield, self._lock:
            self._queue += frame
            if not write or self.sock is None:
                return
            data, sent = self._outgoing
            self._outgoing, self._queue = (data[sum(sent) :] + self._queue, []), bytearray()
            data, sent = self._outgoing
            view = memoryview(data)
            while left := view[sum(sent) :]:
                sent.extend(map(self.sock.send, (left,)))
            self._flushed_at = time.monotonic()
