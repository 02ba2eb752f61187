"""The service as a program: an address, its tenants, until SIGTERM or SIGINT.

Contract: :func:`serve` returns when the service was told to end and every kernel is gone. The kernels go first, so that
cells under way end with an answer; requests that still are not done after ``DRAIN_S`` seconds are refused. A SIGKILL
leaves nothing either: the pools' wardens see to it.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn

from sandbox.service.app import make_app
from sandbox.service.service import OpenPool, SandboxService
from sandbox.service.tenants import UNSENDABLE, Tenant, Tenants, sendable

DRAIN_S = 2
BACKLOG = 1024


def serve(tenants: Tenants, open_pool: OpenPool, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves until a signal. ``port`` 0 takes a free one; ``on_ready`` gets the base URL when it answers.

    Raises ValueError for an address that cannot be had, :class:`sandbox.SandboxError` for pools that cannot.
    """
    service = SandboxService(tenants, open_pool)
    with listening(host, port) as sock:
        name, number = sock.getsockname()[:2]
        url = f"http://{f'[{name}]' if ':' in name else name}:{number}"
        with suppress(KeyboardInterrupt):  # uvicorn has ended everything and raises it once more
            KernelServer(service, lambda: on_ready(url)).run(sockets=[sock])


class KernelServer(uvicorn.Server):
    """The service, its kernels started before the first request and ended before the last answer."""

    def __init__(self, service: SandboxService, on_ready: Callable[[], None] = lambda: None, **config: Any) -> None:
        """``config``: what :class:`uvicorn.Config` takes beside."""
        settings = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": DRAIN_S, **config}
        super().__init__(uvicorn.Config(make_app(service), lifespan="off", **settings))
        self._service, self._on_ready = service, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises :class:`sandbox.SandboxError` for pools that cannot be had."""
        await self._service.start()
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the kernels, and then what has no answer yet."""
        await self._service.close()
        await super().shutdown(sockets)


def listening(host: str, port: int) -> socket.socket:
    """A socket for the server. Raises ValueError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # TCP by name: asyncio turns Nagle's delay off only where the protocol is given, and a cell would wait 40 ms for it
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        return sock
    except (OSError, OverflowError) as error:
        sock.close()
        raise ValueError(f"--host {host} --port {port}: cannot listen there: {error}") from None


def lone_tenant(token: str | None, open_execute: bool, checkpoint: bool = False) -> Tenants:
    """One tenant, called ``local``, with this token or a new random one."""
    given = token if token is not None else secrets.token_urlsafe(24)
    if len(given) < 16:
        raise ValueError(f"--token: {len(given)} characters are easily guessed; use 16 or more")
    if not sendable(given):
        raise ValueError(f"--token: {UNSENDABLE}")
    only = Tenant(name="local", token=given, operator=True, open_execute=open_execute, checkpoint=checkpoint)
    return Tenants([only])


def check_address(host: str, chosen: bool) -> None:
    """Raises ValueError for an address others can reach when nobody has ``chosen`` who may come in."""
    if not chosen and not is_loopback(host):
        raise ValueError(f"--host {host}: others can reach it; say who may come in with --tenants FILE or --token")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
