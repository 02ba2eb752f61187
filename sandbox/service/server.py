"""The HTTP server: serves an address and its tenants until SIGTERM or SIGINT.

Contract: :func:`serve` returns after a signal, when every kernel has ended. The kernels end first, so running cells get
an answer; requests that are not done after ``DRAIN_S`` seconds are refused. A SIGKILL leaves no kernels either: the
pools' supervisors end them.
"""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

from sandbox.service.app import make_app
from sandbox.service.service import OpenPool, SandboxService
from sandbox.service.tenants import TOKEN_CHARACTERS, Tenant, Tenants, fits_in_header

DRAIN_S = 2
BACKLOG = 1024


def serve(tenants: Tenants, open_pool: OpenPool, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves until a signal. ``port`` 0 picks a free one; ``on_ready`` gets the base URL once the server answers.

    Raises ValueError for an address it cannot listen on, :class:`sandbox.SandboxError` for pools that do not start.
    """
    service = SandboxService(tenants, open_pool)
    with open_socket(host, port) as sock:
        name, number = sock.getsockname()[:2]
        url = f"http://{f'[{name}]' if ':' in name else name}:{number}"
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after its shutdown
            KernelServer(service, lambda: on_ready(url)).run(sockets=[sock])


class KernelServer(uvicorn.Server):
    """A uvicorn server that starts the kernels before the first request and ends them before the last response."""

    def __init__(self, service: SandboxService, on_ready: Callable[[], None] = lambda: None, **config: Any) -> None:
        """``config``: further arguments of :class:`uvicorn.Config`."""
        settings = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": DRAIN_S, **config}
        super().__init__(uvicorn.Config(make_app(service), lifespan="off", **settings))
        self._service, self._on_ready = service, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises :class:`sandbox.SandboxError` for pools that do not start."""
        await self._service.start()
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the kernels, then the requests that have no answer yet."""
        await self._service.close()
        await super().shutdown(sockets)


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket for the server. Raises ValueError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only for a socket with an explicit protocol; a cell would wait 40 ms for it
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        return sock
    except (OSError, OverflowError) as error:
        sock.close()
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            reason = "another program holds the port; end it, or give another --port (0 takes a free one)"
        raise ValueError(f"--host {host} --port {port}: cannot listen there: {reason}") from None


def single_tenant(token: str | None, open_execute: bool, checkpoint: bool = False) -> Tenants:
    """One tenant, named ``local``, with this token or a new random one."""
    given = token if token is not None else secrets.token_urlsafe(24)
    if len(given) < 16:
        raise ValueError(f"--token: {len(given)} characters are easily guessed; use 16 or more")
    if not fits_in_header(given):
        raise ValueError(f"--token: {TOKEN_CHARACTERS}")
    only = Tenant(name="local", token=given, operator=True, open_execute=open_execute, checkpoint=checkpoint)
    return Tenants([only])


def check_address(host: str, chosen: bool) -> None:
    """Raises ValueError for an address others can reach when no tenants or token were ``chosen``."""
    if not chosen and not is_loopback(host):
        raise ValueError(f"--host {host}: other machines can reach it; set --tenants FILE or --token")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
