"""A pool of remote kernels: what :class:`sandbox.KernelPool` offers, through the HTTP service.

Contract: ``async with RemotePool(url, token) as pool`` and ``pool.acquire(tools, files)`` give handles with the methods
of :class:`sandbox.Kernel`; episodes use one in the place of the other. Tools run here, in the caller's process. Kernels
live as long as the pool, which renews their leases, and a minute longer when its process is killed. A request whose
connection breaks is sent once more under the same request id, so nothing happens twice. What the service refuses, or a
service that does not answer, is a :class:`sandbox.SandboxError`; bad paths and sizes of files are ValueErrors, missing
files FileNotFoundErrors.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from sandbox.host.connection import OnEvent
from sandbox.result import CellResult, SandboxError
from sandbox.service.schemas import OfferAnswer
from sandbox.tools.describe import Tool, describe_tools
from sandbox.tools.invoke import Caller

CONNECT_TIMEOUT_S = 30.0
LEASE_S = 60.0
ACQUIRE_TIMEOUT_S = 90.0  # longer than a lease: by then the kernels of a client that was killed are given back
LOOK_AGAIN_S = 0.5


class RemotePool:
    """Use as ``async with RemotePool(...) as pool`` or with :meth:`start` and :meth:`close`."""

    def __init__(
        self, url: str, token: str, lease_s: float = LEASE_S, acquire_timeout_s: float = ACQUIRE_TIMEOUT_S
    ) -> None:
        """``url``: where ``codeact serve sandbox`` answers; ``lease_s``: time kernels outlive a client that is killed;
        ``acquire_timeout_s``: how long to wait while the token has as many kernels as it may."""
        self._url, self._token = url.rstrip("/"), token
        self._lease_s, self._acquire_timeout_s = lease_s, acquire_timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._kernels: set[RemoteKernel] = set()
        self._keeping: asyncio.Task[None] | None = None
        self.offer: OfferAnswer
        """What the service gives this token, known from :meth:`start`."""

    @property
    def tier(self) -> str:
        """The isolation of the service's kernels."""
        return self.offer.tier

    async def start(self) -> None:
        """Opens the connection. Raises :class:`SandboxError` when nothing answers."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self._token}"}
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(
            headers=headers, timeout=timeout, connector=connector, read_bufsize=1 << 20
        )
        try:
            self.offer = OfferAnswer.model_validate(await self.request("GET", "/v1/offer"))
        except BaseException:
            await self.close()
            raise
        self._lease_s = min(self._lease_s, self.offer.max_lease_s)
        self._keeping = asyncio.ensure_future(self._keep())

    async def close(self) -> None:
        """Ends the kernels this pool has acquired, and the connection."""
        if self._keeping is not None:
            self._keeping.cancel()
        try:
            await asyncio.gather(*(kernel.close() for kernel in tuple(self._kernels)))
        finally:
            if self._session is not None:
                await self._session.close()
                self._session = None

    async def acquire(
        self, tools: Mapping[str, Tool] | None = None, files: Mapping[str, bytes] | None = None
    ) -> RemoteKernel:
        """A kernel of one's own with these functions of the caller's and these files in its working folder."""
        tools = dict(tools or {})
        body: dict[str, Any] = {
            "files": {path: base64.b64encode(data).decode() for path, data in (files or {}).items()},
            "tools": describe_tools(tools),
            "lease_s": self._lease_s,
        }
        until = time.monotonic() + self._acquire_timeout_s
        while True:
            try:
                return self._lent(await self.request("POST", "/v1/kernels", body), tools)
            except TooMany:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(LOOK_AGAIN_S)

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """One call; the answer's JSON or bytes. Raises :class:`SandboxError`, ValueError for what was wrong with it."""
        headers = {"Idempotency-Key": secrets.token_hex(16)} if method == "POST" else {}
        given = {"data": body} if isinstance(body, bytes) else {} if body is None else {"json": body}
        for attempt in (1, 2):
            try:
                async with self.session.request(method, self.address(path), headers=headers, **given) as answer:
                    await raise_for(answer)
                    return await (answer.json() if answer.content_type == "application/json" else answer.read())
            except aiohttp.ClientError as error:
                if attempt == 2:
                    raise SandboxError(f"{self._url} does not answer: {error}") from None
        raise AssertionError

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open connection."""
        if self._session is None:
            raise SandboxError("the pool is not running: use `async with pool` or `await pool.start()`")
        return self._session

    def address(self, path: str) -> URL:
        """A full URL, of a path that is quoted already."""
        return URL(self._url + path, encoded=True)

    def _lent(self, answer: dict[str, Any], tools: dict[str, Tool]) -> RemoteKernel:
        kernel = RemoteKernel(self, answer["id"], answer["tier"], tools)
        self._kernels.add(kernel)
        return kernel

    async def fork(self, kernel: RemoteKernel, reseed: bool) -> RemoteKernel:
        """A branch of one of its kernels."""
        answer = await self.request("POST", f"{kernel.path}/fork", {"reseed": reseed})
        return self._lent(answer, kernel.tools)

    async def end(self, kernel: RemoteKernel) -> None:
        """Ends one of its kernels; one that is gone already is fine."""
        if kernel in self._kernels:
            self._kernels.discard(kernel)
            with suppress(Gone):
                await self.request("DELETE", kernel.path)

    async def _keep(self) -> None:
        """Renews the leases: between two cells a model may think for longer than a lease."""
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
        self._caller = Caller(tools)
        self.path = f"/v1/kernels/{kernel_id}"
        """Where it lives in the service."""

    async def run(self, code: str, timeout_s: float | None = None, on_event: OnEvent | None = None) -> CellResult:
        """Runs one cell to its end, see :meth:`sandbox.Kernel.run`; cancelling it interrupts the cell."""
        body = {"code": code, "stream": True, **({} if timeout_s is None else {"timeout_s": timeout_s})}
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        asked: set[str] = set()
        for attempt in (1, 2):
            answers: set[asyncio.Task[None]] = set()
            try:
                return await self._follow(body, headers, asked, answers, on_event)
            except aiohttp.ClientError as error:
                if attempt == 2:
                    raise SandboxError(f"the service does not answer: {error}") from None
            except asyncio.CancelledError:
                await asyncio.shield(asyncio.ensure_future(self.interrupt()))
                raise
            finally:
                for task in answers:
                    task.cancel()
        raise AssertionError

    async def _follow(
        self,
        body: dict[str, Any],
        headers: dict[str, str],
        asked: set[str],
        answers: set[asyncio.Task[None]],
        on_event: OnEvent | None,
    ) -> CellResult:
        where = self._pool.address(f"{self.path}/execute")
        async with self._pool.session.post(where, json=body, headers=headers) as answer:
            await raise_for(answer)
            async for event in _events(answer):
                kind = event.pop("event")
                if kind == "result":
                    return CellResult.model_validate(event["result"])
                if kind == "error":
                    raise SandboxError(event["error"]["message"])
                if kind == "tool_call":
                    if event["call"] not in asked:  # after a break they are all told again
                        asked.add(event["call"])
                        answers.add(asyncio.ensure_future(self._answer(event)))
                elif on_event is not None:
                    on_event(kind, event)
        raise aiohttp.ClientPayloadError("the answer ended before the result")

    async def _answer(self, event: dict[str, Any]) -> None:
        answer = await self._caller.answer(event["name"], event["arguments"])
        with suppress(Gone):  # the cell has ended meanwhile
            await self._pool.request("POST", f"{self.path}/calls/{event['call']}", answer)

    async def put(self, path: str, data: bytes) -> None:
        """Writes a file of the workspace."""
        await self._pool.request("PUT", self._file(path), data)

    async def get(self, path: str) -> bytes:
        """Reads a regular file of the workspace."""
        data: bytes = await self._pool.request("GET", self._file(path))
        return data

    def _file(self, path: str) -> str:
        return f"{self.path}/files/{quote(path, safe='')}"

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


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


class Gone(SandboxError):
    """The service does not know what was named."""


class TooMany(SandboxError):
    """The token has as many kernels as it may."""


async def raise_for(answer: aiohttp.ClientResponse) -> None:
    """Raises what the service said is wrong, if it did."""
    if answer.status < 400:
        return
    try:
        fault = (await answer.json())["error"]
        kind, message = str(fault["kind"]), str(fault["message"])
    except (ValueError, KeyError, TypeError, aiohttp.ClientError):
        raise SandboxError(f"the service answered {answer.status}") from None
    if kind in ("bad_request", "too_large"):
        raise ValueError(message)
    if kind == "no_file":
        raise FileNotFoundError(message)
    raise {"not_found": Gone, "too_many_kernels": TooMany}.get(kind, SandboxError)(message)
