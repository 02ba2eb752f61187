"""The light kernel's connection for stock Jupyter clients: the five ZeroMQ sockets of the protocol.

Contract: the same interface as :class:`SocketPort`; messages go out at once. Heartbeats and interrupts by message are
answered between cells only, as this kernel has one Python thread; clients that watch the process do not mind. The
listening descriptors are inherited, see :mod:`sandbox.endpoints`.
"""

from __future__ import annotations

import time
from typing import Any

import zmq
from jupyter_client.session import Session

from sandbox.inside.port import SocketPort
from sandbox.inside.wire import CONTROL, IOPUB, SHELL


def listening(context: zmq.Context[Any], kind: int, fd: int, address: str) -> zmq.Socket[Any]:
    """A ZeroMQ socket that accepts on an inherited descriptor."""
    sock = context.socket(kind)
    sock.linger = 1000
    sock.setsockopt(zmq.USE_FD, fd)
    sock.bind(address)
    return sock


class ZmqPort(SocketPort):
    """Serves any number of stock clients."""

    def __init__(self, connection: dict[str, Any], fds: list[int]) -> None:
        context = zmq.Context()
        self._wire = Session(key=connection["key"].encode(), signature_scheme=connection["signature_scheme"])
        super().__init__(None, self._wire.session)
        kinds = (zmq.ROUTER, zmq.XPUB, zmq.ROUTER, zmq.ROUTER, zmq.REP)
        addresses = [f"ipc://{connection['ip']}-{number}" for number in range(1, 6)]
        self._sockets = [listening(context, *entry) for entry in zip(kinds, fds, addresses, strict=True)]
        self._shell, self._iopub, self._stdin, self._control, self._heart = self._sockets
        self._channels = {SHELL: self._shell, IOPUB: self._iopub, CONTROL: self._control}
        self._poller = zmq.Poller()
        for sock in self._sockets:
            self._poller.register(sock, zmq.POLLIN)
        self._identities: list[bytes] = []

    def receive(self) -> tuple[int, dict[str, Any]]:
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
                if sock in ready:
                    self._identities, parts = self._wire.feed_identities(sock.recv_multipart())
                    try:
                        return channel, self._wire.deserialize(parts)
                    except ValueError:  # a wrong signature: not one of our clients
                        continue

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

    def _welcome(self, subscription: bytes) -> None:
        """Tells a new subscriber that it hears us: what clients wait for before the first request."""
        if subscription[:1] == b"\x01":
            topic = subscription[1:]
            welcome = {"subscription": topic.decode("utf-8", "replace")}
            self._wire.send(self._iopub, "iopub_welcome", welcome, parent={}, ident=[topic or b"iopub_welcome"])
