"""Kernels over HTTP: ``codeact serve sandbox``.

Contract: a client with a token creates kernels, runs cells in them (with one response, or with events while they run),
interrupts, forks, transfers files and deletes; ``/openapi.json`` describes the routes. Requests with the same
idempotency key are the same request. A kernel without a call for the length of its lease is ended, and a cell whose
client has disconnected is interrupted, so lost clients leave nothing running. Tenants are bounded by their limits;
their code is untrusted. The service speaks plain HTTP: put a TLS proxy in front of it on a network that is not private.

``app`` builds the FastAPI application, ``auth`` is its middleware, ``routes`` and ``legacy`` are its endpoints,
``service`` holds the state, ``server`` is the program, ``client`` and ``remote_kernel`` are the Python client. The
names below are the public API and are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.service.app import make_app
    from sandbox.service.client import RemotePool
    from sandbox.service.remote_kernel import RemoteKernel
    from sandbox.service.schemas import OfferResponse
    from sandbox.service.server import KernelServer, check_address, serve, single_tenant
    from sandbox.service.service import SandboxService
    from sandbox.service.tenants import Tenant, Tenants, load_tenants

_MODULES = {
    "KernelServer": "server",
    "OfferResponse": "schemas",
    "RemoteKernel": "remote_kernel",
    "RemotePool": "client",
    "SandboxService": "service",
    "Tenant": "tenants",
    "Tenants": "tenants",
    "check_address": "server",
    "load_tenants": "tenants",
    "make_app": "app",
    "serve": "server",
    "single_tenant": "server",
}
__all__ = [
    "KernelServer",
    "OfferResponse",
    "RemoteKernel",
    "RemotePool",
    "SandboxService",
    "Tenant",
    "Tenants",
    "check_address",
    "load_tenants",
    "make_app",
    "serve",
    "single_tenant",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
