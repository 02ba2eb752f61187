"""The light kernel's connection for stock Jupyter clients: the five ZeroMQ sockets of the protocol.

Contract: the same interface as :class:`SocketPort`; messages go out at once. Heartbeats and interrupts by message are
answered between cells only, as this kernel has one Python thread; clients that watch the process do not mind. The
listening descriptors are inherited, see :mod:`sandbox.host.endpoints`.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections import deque
from contextlib import suppress
from typing import Any

import zmq
from jupyter_client.session import Session, new_id

from sandbox.guest.connection import SocketPort
from sandbox.guest.wire import CONTROL, IOPUB, SCHEME, SHELL

KINDS = (zmq.ROUTER, zmq.XPUB, zmq.ROUTER, zmq.ROUTER, zmq.REP)
WIRE = Session(key=b"nobody's", signature_scheme=SCHEME)
"""Made in the fork server, as it takes a millisecond; a port makes it its own."""


def rehearse() -> None:
    """Once in the fork server: opens, uses and closes a port, for what the first time costs."""
    with tempfile.TemporaryDirectory() as folder:
        fds = []
        for number in range(1, 1 + len(KINDS)):
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(f"{folder}/kernel-{number}")
            sock.listen()
            fds.append(sock.detach())
        port = ZmqPort({"key": "rehearsal", "ip": f"{folder}/kernel"}, fds)
        port.send(IOPUB, "status", {"execution_state": "busy"}, {"msg_id": "rehearsal"})
        packed = WIRE.serialize(WIRE.msg("execute_request", {"code": ""}))
        WIRE.deserialize(WIRE.feed_identities(packed)[1])
        port.close()
    WIRE.digest_history.clear()


def listening(context: zmq.Context[Any], kind: int, fd: int, address: str) -> zmq.Socket[Any]:
    """A ZeroMQ socket that accepts on an inherited descriptor."""
    sock = context.socket(kind)
    sock.linger = 1000
    sock.setsockopt(zmq.USE_FD, fd)
    if kind == zmq.ROUTER:
        sock.router_handover = True  # the clients of one manager all have the same identity: the newest is answered
    sock.bind(address)
    return sock


class ZmqPort(SocketPort):
    """Serves any number of stock clients."""

    def __init__(self, connection: dict[str, Any], fds: list[int]) -> None:
        self._wire = WIRE
        self._wire.pid, self._wire.session, self._wire.key = os.getpid(), new_id(), connection["key"].encode()
        super().__init__(None, self._wire.session)
        self._context = zmq.Context()
        addresses = [f"ipc://{connection['ip']}-{number}" for number in range(1, 1 + len(KINDS))]
        self._sockets = [listening(self._context, *entry) for entry in zip(KINDS, fds, addresses, strict=True)]
        self._shell, self._iopub, self._stdin, self._control, self._heart = self._sockets
        self._channels = {SHELL: self._shell, IOPUB: self._iopub, CONTROL: self._control}
        self._poller = zmq.Poller()
        for sock in self._sockets:
            self._poller.register(sock, zmq.POLLIN)
        self._identities: list[bytes] = []
        self._waiting: deque[tuple[list[bytes], dict[str, Any]]] = deque()
        self.may_ask = False
        """Whether the client of the running cell can answer questions."""

    def receive(self) -> tuple[int, dict[str, Any]]:
        if self._waiting:
            return SHELL, self._take(*self._waiting.popleft())
        while True:
            ready = dict(self._poller.poll())
            self._flushed_at = time.monotonic()
            if self._heart in ready:
                self._heart.send(self._heart.recv())
            if self._iopub in ready:
                self._welcome(self._iopub.recv())
            if self._stdin in ready:
                self._stdin.recv_multipart()
            for channel, sock in ((CONTROL, self._control), (SHELL, self._shell)):
                if sock in ready and (request := self._request(sock)) is not None:
                    return channel, self._take(*request)

    def _request(self, sock: zmq.Socket[Any]) -> tuple[list[bytes], dict[str, Any]] | None:
        """What has come, and from whom."""
        identities, parts = self._wire.feed_identities(sock.recv_multipart())
        try:
            return identities, self._wire.deserialize(parts)
        except ValueError:  # a wrong signature: not one of our clients
            return None

    def _take(self, identities: list[bytes], message: dict[str, Any]) -> dict[str, Any]:
        """From now on its sender is the one who is answered."""
        self._identities, self.may_ask = identities, message["content"].get("allow_stdin", False)
        return message

    def echo(self, code: str, count: int) -> None:
        self.send(IOPUB, "execute_input", {"code": code, "execution_count": count})

    def hold_waiting(self) -> None:
        while self._shell.poll(0):
            if (request := self._request(self._shell)) is not None:
                self._waiting.append(request)

    def abort_waiting(self) -> None:
        requests, self._waiting = self._waiting, deque()
        for identities, message in requests:
            if message["header"]["msg_type"] != "execute_request":
                self._waiting.append((identities, message))
                continue
            self._take(identities, message)
            self.parent = message["header"]
            self.send(IOPUB, "status", {"execution_state": "busy"})
            self.send(SHELL, "execute_reply", {"status": "aborted"})
            self.send(IOPUB, "status", {"execution_state": "idle"})

    def ask(self, prompt: str, secret: bool) -> str:
        """What the person at the client of the running cell answers; waits for it."""
        while self._stdin.poll(0):  # what came for a question that was given up
            self._stdin.recv_multipart()
        question, parent = {"prompt": prompt, "password": secret}, {"header": self.parent}
        self._wire.send(self._stdin, "input_request", question, parent=parent, ident=self._identities)
        while True:
            _, parts = self._wire.feed_identities(self._stdin.recv_multipart())
            with suppress(ValueError, KeyError, TypeError):  # not one of our clients, or no answer
                return str(self._wire.deserialize(parts)["content"]["value"])

    def send(
        self, channel: int, kind: str, content: dict[str, Any], parent: dict[str, Any] | None = None, **metadata: Any
    ) -> None:
        header = self.parent if parent is None else parent
        identities = [kind.encode()] if channel == IOPUB else self._identities
        with self.shield, self._lock:
            self._wire.send(
                self._channels[channel],
                kind,
                content,
                parent={"header": header},
                ident=identities,
                metadata=metadata or None,
            )
            self._flushed_at = time.monotonic()

    def flush(self) -> None: ...

    def close(self) -> None:
        """Closes the sockets; what has not been sent is lost."""
        self._context.destroy(linger=0)

    def _welcome(self, subscription: bytes) -> None:
        """Tells a new subscriber that it hears us: what clients wait for before the first request."""
        if subscription[:1] == b"\x01":
            topic = subscription[1:]
            welcome = {"subscription": topic.decode("utf-8", "replace")}
            self._wire.send(self._iopub, "iopub_welcome", welcome, parent={}, ident=[topic or b"iopub_welcome"])
