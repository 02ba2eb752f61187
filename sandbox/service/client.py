"""Python client of the HTTP service: a pool of remote kernels with the interface of :class:`sandbox.KernelPool`.

Contract: ``async with RemotePool(url, token) as pool`` and ``pool.acquire(tools, files)`` give handles with the methods
of :class:`sandbox.Kernel`, so callers can use either. Tools run in the caller's process. Kernels live as long as the
pool, which renews their leases, and up to a minute longer when its process is killed. A request whose connection breaks
is sent once more under the same idempotency key, so nothing happens twice. Errors: :class:`sandbox.SandboxError` when
the service refuses a request or does not answer, ValueError for bad paths and sizes of files, FileNotFoundError for
missing files.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any
from urllib.parse import quote

import httpx2

from sandbox.host.connection import OnEvent
from sandbox.result import CellResult, SandboxError
from sandbox.service.schemas import OfferResponse
from sandbox.tools.describe import Tool, describe_tools
from sandbox.tools.invoke import ToolInvoker

CONNECT_TIMEOUT_S = 30.0
KEEPALIVE_S = 4.0  # less than the 5 s after which uvicorn closes an idle connection
LEASE_S = 60.0
ACQUIRE_TIMEOUT_S = 90.0  # longer than a lease: the kernels of a killed client have expired by then
RETRY_EVERY_S = 0.5
CONNECTION_ERRORS = (httpx2.RequestError, httpx2.InvalidURL)


class RemotePool:
    """Use as ``async with RemotePool(...) as pool`` or with :meth:`start` and :meth:`close`."""

    def __init__(
        self, url: str, token: str, lease_s: float = LEASE_S, acquire_timeout_s: float = ACQUIRE_TIMEOUT_S
    ) -> None:
        """``url``: base URL of ``codeact serve sandbox``; ``lease_s``: time kernels outlive a killed client;
        ``acquire_timeout_s``: how long to wait while the tenant has its maximum number of kernels."""
        self._url, self._token = url.rstrip("/"), token
        self._lease_s, self._acquire_timeout_s = lease_s, acquire_timeout_s
        self._client: httpx2.AsyncClient | None = None
        self._kernels: set[RemoteKernel] = set()
        self._renewing: asyncio.Task[None] | None = None
        self.offer: OfferResponse
        """The tier and limits the service gives this token; set by :meth:`start`."""

    @property
    def tier(self) -> str:
        """The isolation tier of the service's kernels."""
        return self.offer.tier

    async def start(self) -> None:
        """Connects to the service. Raises :class:`SandboxError` when it does not answer."""
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx2.Limits(keepalive_expiry=KEEPALIVE_S),
            follow_redirects=True,
            trust_env=False,
        )
        try:
            self.offer = OfferResponse.model_validate(await self.request("GET", "/v1/offer"))
        except BaseException:
            await self.close()
            raise
        self._lease_s = min(self._lease_s, self.offer.max_lease_s)
        self._renewing = asyncio.ensure_future(self._renew_leases())

    async def close(self) -> None:
        """Ends the kernels this pool has acquired and closes its connections."""
        if self._renewing is not None:
            self._renewing.cancel()
        try:
            await asyncio.gather(*(kernel.close() for kernel in tuple(self._kernels)))
        finally:
            if self._client is not None:
                await self._client.aclose()
                self._client = None

    async def acquire(
        self, tools: Mapping[str, Tool] | None = None, files: Mapping[str, bytes] | None = None
    ) -> RemoteKernel:
        """A new kernel with these functions of the caller as tools and these files in its working folder."""
        tools = dict(tools or {})
        body: dict[str, Any] = {
            "files": {path: base64.b64encode(data).decode() for path, data in (files or {}).items()},
            "tools": describe_tools(tools),
            "lease_s": self._lease_s,
        }
        deadline = time.monotonic() + self._acquire_timeout_s
        while True:
            try:
                return self._add_kernel(await self.request("POST", "/v1/kernels", body), tools)
            except TooManyKernels:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RETRY_EVERY_S)

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

    def _add_kernel(self, answer: dict[str, Any], tools: dict[str, Tool]) -> RemoteKernel:
        kernel = RemoteKernel(self, answer["id"], answer["tier"], tools)
        self._kernels.add(kernel)
        return kernel

    async def fork(self, kernel: RemoteKernel, reseed: bool) -> RemoteKernel:
        """A fork of one of the pool's kernels."""
        answer = await self.request("POST", f"{kernel.path}/fork", {"reseed": reseed})
        return self._add_kernel(answer, kernel.tools)

    async def end(self, kernel: RemoteKernel) -> None:
        """Ends one of the pool's kernels; does nothing if it has ended already."""
        if kernel in self._kernels:
            self._kernels.discard(kernel)
            with suppress(NotFound):
                await self.request("DELETE", kernel.path)

    async def _renew_leases(self) -> None:
        """Renews the leases, because a model may think for longer than a lease between two cells."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            kernels = tuple(self._kernels)
            await asyncio.gather(*(self.request("GET", kernel.path) for kernel in kernels), return_exceptions=True)

    async def __aenter__(self) -> RemotePool:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class RemoteKernel:
    """Made by :meth:`RemotePool.acquire`."""

    def __init__(self, pool: RemotePool, kernel_id: str, tier: str, tools: dict[str, Tool]) -> None:
        self._pool, self.tools, self.tier = pool, tools, tier
        self._invoker = ToolInvoker(tools)
        self.path = f"/v1/kernels/{kernel_id}"
        """The kernel's URL path."""

    async def run(self, code: str, timeout_s: float | None = None, on_event: OnEvent | None = None) -> CellResult:
        """Runs one cell to its end, see :meth:`sandbox.Kernel.run`; cancelling it interrupts the cell."""
        body = {"code": code, "stream": True, **({} if timeout_s is None else {"timeout_s": timeout_s})}
        key = secrets.token_hex(16)
        answered: set[str] = set()
        for attempt in (1, 2):
            answers: set[asyncio.Task[None]] = set()
            try:
                return await self._execute(body, key, answered, answers, on_event)
            except CONNECTION_ERRORS as error:
                if attempt == 2:
                    raise SandboxError(f"the service does not answer: {error}") from None
            except asyncio.CancelledError:
                await asyncio.shield(asyncio.ensure_future(self.interrupt()))
                raise
            finally:
                for task in answers:
                    task.cancel()
        raise AssertionError

    async def _execute(
        self,
        body: dict[str, Any],
        key: str,
        answered: set[str],
        answers: set[asyncio.Task[None]],
        on_event: OnEvent | None,
    ) -> CellResult:
        """One attempt. ``answered``: ids of tool calls that have an answer; ``answers``: tasks that send them."""
        result = None
        async with self._pool.stream("POST", f"{self.path}/execute", body, key) as response:
            await raise_for_error(response)
            async for event in _events(response):  # read to the end: only then is the connection used again
                kind = event.pop("event")
                if kind == "result":
                    result = CellResult.model_validate(event["result"])
                elif kind == "error":
                    raise SandboxError(event["error"]["message"])
                elif kind == "tool_call":
                    if event["call"] not in answered:  # a second attempt gets every event again
                        answered.add(event["call"])
                        answers.add(asyncio.ensure_future(self._answer(event)))
                elif on_event is not None:
                    on_event(kind, event)
        if result is None:
            raise httpx2.RemoteProtocolError("the answer ended before the result")
        return result

    async def _answer(self, event: dict[str, Any]) -> None:
        answer = await self._invoker.invoke(event["name"], event["arguments"])
        with suppress(NotFound):  # the cell has ended
            await self._pool.request("POST", f"{self.path}/calls/{event['call']}", answer)

    async def put(self, path: str, data: bytes) -> None:
        """Writes a file of the workspace."""
        await self._pool.request("PUT", self._file(path), data)

    async def get(self, path: str) -> bytes:
        """Reads a regular file of the workspace."""
        data: bytes = await self._pool.request("GET", self._file(path))
        return data

    def _file(self, path: str) -> str:
        encoded = quote(path, safe="").replace(".", "%2E")  # httpx would resolve a path of "." or ".."
        return f"{self.path}/files/{encoded}"

    async def fork(self, reseed: bool = False) -> RemoteKernel:
        """A second kernel with this one's state and files."""
        return await self._pool.fork(self, reseed)

    async def interrupt(self) -> None:
        """Ends the running cell as its time limit would."""
        await self._pool.request("POST", f"{self.path}/interrupt")

    async def restart(self) -> None:
        """A fresh process with the first files and the tools."""
        await self._pool.request("POST", f"{self.path}/restart")

    async def close(self) -> None:
        """Ends the kernel."""
        await self._pool.end(self)

    async def __aenter__(self) -> RemoteKernel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
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
