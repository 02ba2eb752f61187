"""The handle of a kernel of the HTTP service, with the interface of :class:`sandbox.Kernel`.

Contract: as of :class:`sandbox.Kernel`; a test compares the signatures. Tools run in the caller's process, and so does
the recorder. Cancelling :meth:`RemoteKernel.run` interrupts the cell.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx2

from sandbox.host.connection import OnEvent
from sandbox.result import CellResult, SandboxError
from sandbox.service.connection import CONNECTION_ERRORS, NotFound, ServiceConnection, raise_for_error, read_events
from sandbox.state.session_log import Recorder, SessionLog
from sandbox.tools.describe import Tool, describe_tools, forked_tools
from sandbox.tools.invoke import ToolInvoker


class RemoteKernel:
    """Made by :meth:`RemotePool.acquire`."""

    def __init__(
        self,
        service: ServiceConnection,
        siblings: set[RemoteKernel],
        tools: Mapping[str, Tool],
        files: Mapping[str, bytes],
        seed: int | None,
        record: bool,
        lease_s: float,
    ) -> None:
        """``siblings``: the live kernels of its pool, to which it adds itself."""
        self._service, self._siblings = service, siblings
        self._tools, self._files, self._seed, self._lease_s = dict(tools), dict(files), seed, lease_s
        self._invoke = ToolInvoker(self._tools).invoke
        self.recorder = Recorder(SessionLog.begin(seed, self._tools, self._files), self._invoke) if record else None
        """Keeps the log for :func:`sandbox.restore`, when the kernel was acquired with ``record=True``."""
        self._path = ""
        self._tier = ""
        self._running = 0

    @property
    def tier(self) -> str:
        """The isolation tier of this kernel."""
        return self._tier

    @property
    def busy(self) -> bool:
        """Whether a cell of this handle is running, which :meth:`interrupt` would end."""
        return self._running > 0

    async def start(self) -> None:
        """Makes the kernel, with tools, files and seed; one that is there gets a fresh process."""
        if self._path:
            return await self.restart()
        body = {
            "files": {path: base64.b64encode(data).decode() for path, data in self._files.items()},
            "tools": describe_tools(self._tools),
            "lease_s": self._lease_s,
            **({} if self._seed is None else {"seed": self._seed}),
        }
        self._made(await self._service.request("POST", "/v1/kernels", body))
        return None

    def _made(self, answer: dict[str, Any]) -> None:
        self._path, self._tier = f"/v1/kernels/{answer['id']}", answer["tier"]
        self._siblings.add(self)

    async def run(self, code: str, timeout_s: float | None = None, on_event: OnEvent | None = None) -> CellResult:
        """Runs one cell to its end, see :meth:`sandbox.Kernel.run`; cancelling it interrupts the cell."""
        self._running += 1
        try:
            result = await self._run(code, timeout_s, on_event)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self.interrupt()))
            if self.recorder is not None:
                self.recorder.record_cancelled(lost=False)
            raise
        finally:
            self._running -= 1
        if self.recorder is not None:
            self.recorder.record_cell(code, timeout_s, result)
        return result

    async def _run(self, code: str, timeout_s: float | None, on_event: OnEvent | None) -> CellResult:
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
        async with self._service.stream("POST", f"{self._path}/execute", body, key) as response:
            await raise_for_error(response)
            async for event in read_events(response):  # to the end: only then is the connection used again
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
        invoke = self.recorder.invoke if self.recorder is not None else self._invoke
        answer = await invoke(event["name"], event["arguments"])
        with suppress(NotFound):  # the cell has ended
            await self._service.request("POST", f"{self._path}/calls/{event['call']}", answer)

    async def put(self, path: str, data: bytes) -> None:
        """Writes a file of the workspace, see :meth:`sandbox.Kernel.put`."""
        await self._service.request("PUT", self._file(path), data)
        if self.recorder is not None:
            self.recorder.record_put(path, data)

    async def get(self, path: str, limit_bytes: int = 16 << 20) -> bytes:
        """Reads a regular file of the workspace, see :meth:`sandbox.Kernel.get`."""
        data: bytes = await self._service.request("GET", f"{self._file(path)}?limit_bytes={limit_bytes}")
        return data

    def _file(self, path: str) -> str:
        encoded = quote(path, safe="").replace(".", "%2E")  # httpx would resolve a path of "." or ".."
        return f"{self._path}/files/{encoded}"

    async def fork(self, reseed: bool = False, tools: Mapping[str, Tool] | None = None) -> RemoteKernel:
        """A second kernel with this one's state and files, see :meth:`sandbox.Kernel.fork`."""
        theirs = forked_tools(self._tools, tools)
        answer = await self._service.request("POST", f"{self._path}/fork", {"reseed": reseed})
        fork = RemoteKernel(self._service, self._siblings, theirs, self._files, self._seed, False, self._lease_s)
        fork.recorder = self.recorder.fork(fork._invoke) if self.recorder is not None else None
        fork._made(answer)
        return fork

    async def seed(self, seed: int) -> None:
        """Seeds the random generators, see :meth:`sandbox.Kernel.seed`."""
        await self._service.request("POST", f"{self._path}/seed", {"seed": seed})
        if self.recorder is not None:
            self.recorder.record_seed(seed)

    async def interrupt(self) -> bool:
        """Ends the running cell as its time limit would; returns False when none runs."""
        answer = await self._service.request("POST", f"{self._path}/interrupt")
        return bool(answer["interrupted"])

    async def restart(self) -> None:
        """Discards the process; the next cell finds state and workspace as they were at the start."""
        await self._service.request("POST", f"{self._path}/restart")
        if self.recorder is not None:
            self.recorder.record_restart()

    async def _renew_lease(self) -> None:
        """Keeps the kernel for another lease."""
        await self._service.request("GET", self._path)

    async def close(self) -> None:
        """Ends the kernel; does nothing if it has ended already."""
        if self in self._siblings:
            self._siblings.discard(self)
            with suppress(NotFound):
                await self._service.request("DELETE", self._path)

    async def __aenter__(self) -> RemoteKernel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
