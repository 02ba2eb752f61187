"""The routes behind uvicorn, and the socket that they listen on."""

from __future__ import annotations

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


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ``port`` 0 takes a free one. Raises ValueError when the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay of 40 ms off only for sockets whose protocol is named
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        raise ValueError(f"--host {host} --port {port}: cannot listen there: {error}") from None
    return listening
