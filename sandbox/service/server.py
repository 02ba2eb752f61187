"""The service as a program: an address, its tenants, until SIGTERM or SIGINT.

Contract: :func:`serve` returns when the service was told to end and every kernel is gone; requests under way get
``DRAIN_S`` seconds. A SIGKILL leaves nothing either: the pools' wardens see to it.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable

import uvicorn

from sandbox.limits import Limits
from sandbox.pool import KernelPool
from sandbox.service.app import make_app
from sandbox.service.service import SandboxService
from sandbox.service.tenants import Tenant, Tenants

DRAIN_S = 2


def serve(
    tenants: Tenants, open_pool: Callable[[Limits], KernelPool], host: str, port: int, on_ready: Callable[[str], None]
) -> None:
    """Serves until a signal. ``port`` 0 takes a free one; ``on_ready`` gets the base URL when it answers."""
    server = _Announcing(
        uvicorn.Config(
            make_app(SandboxService(tenants, open_pool)),
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )
    server.on_ready = on_ready
    server.run()


class _Announcing(uvicorn.Server):
    on_ready: Callable[[str], None]

    async def startup(self, *args: object, **more: object) -> None:
        """Says where it listens, when it does."""
        await super().startup(*args, **more)  # type: ignore[arg-type]
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self.on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")


def lone_tenant(token: str | None, open_execute: bool) -> Tenants:
    """One tenant, called ``local``, with this token or a new random one."""
    given = token if token is not None else secrets.token_urlsafe(24)
    if len(given) < 16:
        raise ValueError(f"--token: {len(given)} characters are easily guessed; use 16 or more")
    return Tenants([Tenant(name="local", token=given, operator=True, open_execute=open_execute)])


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
