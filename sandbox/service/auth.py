"""The door of the service: who comes in, and with how much, before anything else is done for them.

Contract: an ASGI layer. A request without a known token is answered 401 before its body is read; a body above the limit
is answered 413 while it is read, so a request costs at most that much memory. Behind the door the body is there whole
and ``scope["state"]["tenant"]`` says whose it is. A request that the end of the service breaks off is refused, too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sandbox.service.errors import Refused
from sandbox.service.metrics import Metrics
from sandbox.service.tenants import Tenant, Tenants

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/health", "/openapi.json")
OLD_PATH = "/execute"
BODY_MIB = 32


class Door:
    """Stands before the application."""

    def __init__(self, app: App, tenants: Tenants, metrics: Metrics) -> None:
        self._app, self._tenants, self._metrics = app, tenants, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; what is no request passes."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._enter(scope, receive, sent)
        except asyncio.CancelledError:
            if begun:
                raise
            await _answer(Refused("sandbox", "the service was ended before it had done this"), send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            tenant = self._tenant(scope)
            scope.setdefault("state", {})["tenant"] = tenant
            limit = max(BODY_MIB, tenant.max_file_mib) << 20
            body = await _body(scope, receive, limit)
        except Refused as refused:
            self._metrics.refused.labels("", refused.kind).inc()
            await _answer(refused, send)
        else:
            await self._app(scope, _body_first(body, receive), send)

    def _tenant(self, scope: Scope) -> Tenant:
        given = dict(scope["headers"]).get(b"authorization")
        if given is None and scope["path"] == OLD_PATH and self._tenants.without_token is not None:
            return self._tenants.without_token
        if given is None:
            raise Refused("unauthorized", "this needs a token; send the header Authorization: Bearer TOKEN")
        scheme, _, token = given.decode("latin-1").partition(" ")
        tenant = self._tenants.find(token.strip()) if scheme.lower() == "bearer" else None
        if tenant is None:
            raise Refused("unauthorized", "the token is not known here")
        return tenant


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes:
    refusal = Refused("too_large", f"the body is larger than {limit >> 20} MiB")
    announced = dict(scope["headers"]).get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > limit:
        raise refusal
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > limit:
            raise refusal
    return b"".join(parts)


def _body_first(body: bytes, receive: Receive) -> Receive:
    """Receives the body, then what ``receive`` does: that the client is gone."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return left.pop() if left else await receive()

    return received


async def _answer(refused: Refused, send: Send) -> None:
    body = json.dumps(refused.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.kind == "unauthorized":
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
