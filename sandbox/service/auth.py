"""Authentication and body-size middleware of the service.

Contract: an ASGI middleware. A request without a known token is answered 401 before its body is read; a body above the
limit is answered 413 while it is read, so a request costs at most that much memory. The application behind it gets the
whole body, and the tenant in ``scope["state"]["tenant"]``. A request cancelled by the service's shutdown is answered
503.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sandbox.service.errors import ApiError
from sandbox.service.metrics import Metrics
from sandbox.service.tenants import Tenant, Tenants

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PUBLIC_PATHS = ("/health", "/openapi.json")
LEGACY_PATH = "/execute"
MAX_BODY_MIB = 32


class AuthMiddleware:
    """Authenticates each request and enforces the body-size limit."""

    def __init__(self, app: App, tenants: Tenants, metrics: Metrics) -> None:
        self._app, self._tenants, self._metrics = app, tenants, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request; other ASGI scopes and public paths pass through."""
        if scope["type"] != "http" or scope["path"] in PUBLIC_PATHS:
            await self._app(scope, receive, send)
            return
        started = False

        async def tracked_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._handle(scope, receive, tracked_send)
        except asyncio.CancelledError:
            if started:
                raise
            await _respond(ApiError("sandbox", "the service was ended before it had done this"), send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            tenant = self._authenticate(scope)
            scope.setdefault("state", {})["tenant"] = tenant
            limit = max(MAX_BODY_MIB, tenant.max_file_mib) << 20
            body = await _read_body(scope, receive, limit)
        except ApiError as error:
            self._metrics.refused.labels("", error.kind).inc()
            await _respond(error, send)
        else:
            await self._app(scope, _replay_body(body, receive), send)

    def _authenticate(self, scope: Scope) -> Tenant:
        header = dict(scope["headers"]).get(b"authorization")
        if header is None and scope["path"] == LEGACY_PATH and self._tenants.without_token is not None:
            return self._tenants.without_token
        if header is None:
            raise ApiError("unauthorized", "this needs a token; send the header Authorization: Bearer TOKEN")
        scheme, _, token = header.decode("latin-1").partition(" ")
        tenant = self._tenants.find(token.strip()) if scheme.lower() == "bearer" else None
        if tenant is None:
            raise ApiError("unauthorized", "the token is not known here")
        return tenant


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    too_large = ApiError("too_large", f"the body is larger than {limit >> 20} MiB")
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > limit:
            raise too_large
    return b"".join(parts)


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that yields the body first, then what the real one yields (the client's disconnect)."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


async def _respond(error: ApiError, send: Send) -> None:
    body = json.dumps(error.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.kind == "unauthorized":
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
