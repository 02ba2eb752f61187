"""The routes behind uvicorn, and the socket that they listen on."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import uvicorn

from rollout.servers.api import create_app
from rollout.servers.backend import Backend

SHUTDOWN_S = 1
"""Requests that are not answered this long after the signal are cancelled."""


class ModelServer(uvicorn.Server):
    """Serves one backend; ``on_ready`` is called when it answers."""

    def __init__(self, backend: Backend, on_ready: Callable[[], None] = lambda: None) -> None:
        app = create_app(backend)
        super().__init__(
            uvicorn.Config(
                app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=SHUTDOWN_S
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See :class:`uvicorn.Server`."""
        await super().startup(sockets)
        self._on_ready()


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that holds an address and does not listen yet; ``port`` 0 takes a free one.

    Raises ValueError when the address cannot be used, also when another program listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay of 40 ms off only for sockets whose protocol is named
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise cannot_listen(host, port, error) from None
    return bound


def cannot_listen(host: str, port: int, error: Exception) -> ValueError:
    """The error for an address that cannot be used."""
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        reason = "another program holds the port; end it, or give another port (0 takes a free one)"
    return ValueError(f"--host {host} --port {port}: cannot listen there: {reason}")
