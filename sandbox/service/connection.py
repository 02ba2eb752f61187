"""The client's connection to the HTTP service: requests, their errors, and events of a running cell.

Contract: a request whose connection breaks is sent once more under the same idempotency key, so nothing happens twice.
Errors: :class:`sandbox.SandboxError` when the service refuses a request or does not answer, ValueError for bad
requests, FileNotFoundError for missing files.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2

from sandbox.result import SandboxError

CONNECT_TIMEOUT_S = 30.0
KEEPALIVE_S = 4.0  # less than the 5 s after which uvicorn closes an idle connection
CONNECTION_ERRORS = (httpx2.RequestError, httpx2.InvalidURL)


class ServiceConnection:
    """Connections to one service with one token; call :meth:`open` and :meth:`close`."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url.rstrip("/"), token
        self._client: httpx2.AsyncClient | None = None

    def open(self) -> None:
        """Allows requests; connects at the first one."""
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx2.Limits(keepalive_expiry=KEEPALIVE_S),
            follow_redirects=True,
            trust_env=False,
        )

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request; the response's JSON, or its bytes. ``body``: bytes, or a value sent as JSON.

        Raises :class:`SandboxError`, ValueError for a bad request, FileNotFoundError.
        """
        key = secrets.token_hex(16) if method == "POST" else None
        for attempt in (1, 2):
            try:
                async with self.stream(method, path, body, key) as response:
                    await raise_for_error(response)
                    content = await response.aread()
                return _parsed(response, content)
            except CONNECTION_ERRORS as error:
                if attempt == 2:
                    raise SandboxError(f"{self._url} does not answer: {error}") from None
        raise AssertionError

    def stream(
        self, method: str, path: str, body: Any = None, idempotency_key: str | None = None
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        """Sends a request once; a block in which the response can be read. ``path`` is percent-encoded."""
        if self._client is None:
            raise SandboxError("the pool is not running: use `async with pool` or `await pool.start()`")
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        content: bytes | None = body
        if body is not None and not isinstance(body, bytes):
            content = json.dumps(body).encode()  # httpx's own encoder refuses NaN and lone surrogates
            headers["Content-Type"] = "application/json"
        return self._client.stream(method, self._url + path, content=content, headers=headers)


async def read_events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a response with one object a line."""
    pending = bytearray()
    async for chunk in response.aiter_bytes():
        pending += chunk
        if b"\n" in chunk:
            *lines, pending = pending.split(b"\n")
            for line in lines:
                yield json.loads(line)


def _parsed(response: httpx2.Response, content: bytes) -> Any:
    if not response.headers.get("Content-Type", "").startswith("application/json"):
        return content
    return json.loads(content) if content else None  # status 204


class NotFound(SandboxError):
    """The service has no such kernel or tool call."""


class TooManyKernels(SandboxError):
    """The tenant has its maximum number of kernels."""


async def raise_for_error(response: httpx2.Response) -> None:
    """Raises the error of a response with a status of 400 or more."""
    if response.status_code < 400:
        return
    try:
        error = json.loads(await response.aread())["error"]
        kind, message = str(error["kind"]), str(error["message"])
    except (ValueError, KeyError, TypeError, httpx2.RequestError):
        raise SandboxError(f"the service answered {response.status_code}") from None
    if kind in ("bad_request", "too_large"):
        raise ValueError(message)
    if kind == "no_file":
        raise FileNotFoundError(message)
    raise {"not_found": NotFound, "too_many_kernels": TooManyKernels}.get(kind, SandboxError)(message)
