"""The light kernel's transport for stock Jupyter clients: the five ZeroMQ sockets of the protocol.

Contract: the same interface as :class:`SocketTransport`; messages are sent at once. Heartbeats and interrupt requests
are answered while a cell runs, by a small thread (:mod:`sandbox.guest.control`). The listening descriptors are
inherited, see :mod:`sandbox.host.endpoints`.
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

from sandbox.guest.connection import SocketTransport
from sandbox.guest.control import ControlThread, interrupt_group
from sandbox.guest.signals import Blocked
from sandbox.guest.wire import CONTROL, IOPUB, SCHEME, SHELL

KINDS = (zmq.ROUTER, zmq.XPUB, zmq.ROUTER, zmq.ROUTER, zmq.REP)
SESSION = Session(key=b"not yet set", signature_scheme=SCHEME)
"""Created in the fork server, because it takes a millisecond; a transport sets its own id and key."""


def rehearse(base: str) -> None:
    """Opens, uses and closes a transport, once in the fork server, so that first-use costs are not paid by kernels."""
    with tempfile.TemporaryDirectory(dir=base) as folder:
        fds = []
        for number in range(1, 1 + len(KINDS)):
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(f"{folder}/kernel-{number}")
            sock.listen()
            fds.append(sock.detach())
        transport = ZmqTransport({"key": "rehearsal", "ip": f"{folder}/kernel"}, fds)
        transport.send(IOPUB, "status", {"execution_state": "busy"}, {"msg_id": "rehearsal"})
        packed = SESSION.serialize(SESSION.msg("execute_request", {"code": ""}))
        SESSION.deserialize(SESSION.feed_identities(packed)[1])
        transport.close()
    SESSION.digest_history.clear()


def bind_inherited(context: zmq.Context[Any], kind: int, fd: int, address: str) -> zmq.Socket[Any]:
    """A ZeroMQ socket that accepts on an inherited descriptor."""
    sock = context.socket(kind)
    sock.linger = 1000
    sock.setsockopt(zmq.USE_FD, fd)
    if kind == zmq.ROUTER:
        sock.router_handover = True  # the clients of one manager share an identity: answer the newest
    sock.bind(address)
    return sock


class ZmqTransport(SocketTransport):
    """Serves any number of stock Jupyter clients."""

    def __init__(self, connection: dict[str, Any], fds: list[int]) -> None:
        self._session = SESSION
        self._session.pid, self._session.session, self._session.key = os.getpid(), new_id(), connection["key"].encode()
        super().__init__(None, self._session.session)
        self._context = zmq.Context()
        addresses = [f"ipc://{connection['ip']}-{number}" for number in range(1, 1 + len(KINDS))]
        entries = list(zip(KINDS, fds, addresses, strict=True))
        self._shell, self._iopub, self._stdin = (bind_inherited(self._context, *entry) for entry in entries[:3])
        first, second = entries[3:]
        self._thread = ControlThread(
            self._context,
            lambda: (bind_inherited(self._context, *first), bind_inherited(self._context, *second)),
            self._answer_interrupt,
        )
        self._control = self._thread.requests
        self._channels = {SHELL: self._shell, IOPUB: self._iopub, CONTROL: self._control}
        self._poller = zmq.Poller()
        for sock in (self._shell, self._iopub, self._stdin, self._control):
            self._poller.register(sock, zmq.POLLIN)
        self._identities: list[bytes] = []
        self._waiting: deque[tuple[list[bytes], dict[str, Any]]] = deque()
        self.allow_stdin = False
        """Whether the client of the running cell answers input requests."""

    def receive(self) -> tuple[int, dict[str, Any]]:
        if self._waiting:
            return SHELL, self._reply_to(*self._waiting.popleft())
        while True:
            ready = dict(self._poller.poll())
            self._flushed_at = time.monotonic()
            if self._iopub in ready:
                self._welcome(self._iopub.recv())
            if self._stdin in ready:
                self._stdin.recv_multipart()
            for channel, sock in ((CONTROL, self._control), (SHELL, self._shell)):
                if sock in ready and (request := self._request(sock)) is not None:
                    return channel, self._reply_to(*request)

    def _answer_interrupt(self, control: zmq.Socket[Any], request: list[bytes]) -> bool:
        """Called in the control thread: answers an interrupt request; False for any other request."""
        with self._lock, suppress(ValueError, KeyError, TypeError, IndexError):  # a wrong signature, or no message
            identities, parts = self._session.feed_identities(request)
            # the kind is read without checking the signature: the main thread would take it for a message sent twice
            if self._session.unpack(parts[1])["msg_type"] != "interrupt_request":
                return False
            message = self._session.deserialize(parts)
            interrupt_group()
            self._session.send(control, "interrupt_reply", {"status": "ok"}, parent=message, ident=identities)
        return True

    def _request(self, sock: zmq.Socket[Any]) -> tuple[list[bytes], dict[str, Any]] | None:
        """One received request and its sender's identities; None for a wrong signature."""
        identities, parts = self._session.feed_identities(sock.recv_multipart())
        try:
            return identities, self._session.deserialize(parts)
        except ValueError:  # a wrong signature
            return None

    def _reply_to(self, identities: list[bytes], message: dict[str, Any]) -> dict[str, Any]:
        """Makes the message's sender the receiver of replies from now on; returns the message."""
        self._identities, self.allow_stdin = identities, message["content"].get("allow_stdin", False)
        return message

    def publish_input(self, code: str, count: int) -> None:
        self.send(IOPUB, "execute_input", {"code": code, "execution_count": count})

    def hold_queued(self) -> None:
        while self._shell.poll(0):
            if (request := self._request(self._shell)) is not None:
                self._waiting.append(request)

    def abort_queued(self) -> None:
        requests, self._waiting = self._waiting, deque()
        for identities, message in requests:
            if message["header"]["msg_type"] != "execute_request":
                self._waiting.append((identities, message))
                continue
            self._reply_to(identities, message)
            self.parent = message["header"]
            self.send(IOPUB, "status", {"execution_state": "busy"})
            self.send(SHELL, "execute_reply", {"status": "aborted"})
            self.send(IOPUB, "status", {"execution_state": "idle"})

    def request_input(self, prompt: str, secret: bool) -> str:
        """The answer of the running cell's client to a prompt; waits for it."""
        while self._stdin.poll(0):  # answers to a prompt that was interrupted
            self._stdin.recv_multipart()
        question, parent = {"prompt": prompt, "password": secret}, {"header": self.parent}
        self._session.send(self._stdin, "input_request", question, parent=parent, ident=self._identities)
        while True:
            _, parts = self._session.feed_identities(self._stdin.recv_multipart())
            with suppress(ValueError, KeyError, TypeError):  # a wrong signature, or not an answer
                return str(self._session.deserialize(parts)["content"]["value"])

    def send(
        self, channel: int, kind: str, content: dict[str, Any], parent: dict[str, Any] | None = None, **metadata: Any
    ) -> None:
        header = self.parent if parent is None else parent
        identities = [kind.encode()] if channel == IOPUB else self._identities
        with self.shield, self._lock, Blocked():  # a handler that raised between parts would mix two messages
            self._session.send(
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
        """Closes the sockets; messages that are not sent yet are lost."""
        self._thread.stop()
        self._context.destroy(linger=0)

    def _welcome(self, subscription: bytes) -> None:
        """Sends a new subscriber the welcome that clients wait for before their first request."""
        if subscription[:1] == b"\x01":
            topic = subscription[1:]
            welcome = {"subscription": topic.decode("utf-8", "replace")}
            self._session.send(self._iopub, "iopub_welcome", welcome, parent={}, ident=[topic or b"iopub_welcome"])
