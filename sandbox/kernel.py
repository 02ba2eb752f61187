"""The handle a caller holds: one stateful kernel, whatever happens to the process behind it.

Contract: :meth:`Kernel.run` runs cells one after another in one process and says what each came to. When a cell costs
the process its life, the kernel goes on from its checkpoint (``rolled_back``) where the pool keeps them; else the
result says so (``state_survived`` is False) and the next cell runs in a fresh process with the same tools, first files
and seed. :meth:`Kernel.close` destroys it; kernels are never used by two callers.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from sandbox.host.completion import end_of, result_of
from sandbox.host.connection import Cell, Line, OnEvent
from sandbox.host.process import Process
from sandbox.host.process_source import ProcessSource
from sandbox.host.zmq_connection import ZmqLine, open_line
from sandbox.limits import Limits
from sandbox.result import CellResult, SandboxError, Status
from sandbox.state.checkpoint import Checkpoints
from sandbox.state.session_log import Log, Recorder
from sandbox.tools.describe import Tool, describe_tools
from sandbox.tools.invoke import Answer, Caller
from sandbox.tools.server import ToolServer
from sandbox.workspace.files import get_file, put_file

DEATH_TIMEOUT_S, RESUME_TIMEOUT_S = 10.0, 2.0
SEEDS = 1 << 32


class Kernel:
    """Made by :meth:`KernelPool.acquire`."""

    def __init__(
        self,
        source: ProcessSource,
        tools: Mapping[str, Tool],
        files: Mapping[str, bytes],
        seed: int | None = None,
        record: bool = False,
    ) -> None:
        self._source, self._tools, self._files, self._seed = source, dict(tools), dict(files), seed
        self._limits: Limits = source.limits
        self._described = describe_tools(self._tools)
        self._checkpoints = Checkpoints(source) if source.checkpoint else None
        self._answer: Answer = Caller(self._tools).answer
        self.recorder = Recorder(Log.begin(seed, self._tools, self._files), self._answer) if record else None
        """Keeps the log for :func:`sandbox.replay.restore`, where it was asked for."""
        self.process: Process | None = None
        """The process behind the handle now; None between a death and the next cell."""
        self._line: Line | ZmqLine
        self._server: ToolServer
        self._turn = asyncio.Lock()
        self._stop: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def tier(self) -> str:
        """The isolation that holds for this kernel."""
        return self._source.tier

    async def begin(self) -> None:
        """Puts a fresh process behind the handle, with tools, files and seed; with all of them or not at all."""
        process = await self._source.take()
        try:
            await self._equip(process)
            self._refuse_when_closed()
        except BaseException:
            await self._discard()
            await self._source.discard(process)
            raise

    async def _equip(self, process: Process) -> None:
        self._connect(process, await open_line(process, self._limits))
        for path, data in self._files.items():
            await self._put(process, path, data)
        if self._described:
            told = json.dumps(self._described)
            code = "import json as _j, sys as _s; _s.modules['sandbox.guest.tool_proxies'].TOOLS.install"
            await self._prepare(f"{code}(_j.loads({told!r}), globals()); del _j, _s")
        if self._seed is not None:
            await self._sow(self._seed)

    def _connect(self, process: Process, line: Line | ZmqLine) -> None:
        self.process, self._line = process, line
        self._server = ToolServer(process, self.recorder.answer if self.recorder else self._answer, self._limits)

    async def _sow(self, seed: int) -> None:
        if not isinstance(seed, Integral) or not 0 <= seed < SEEDS:
            raise ValueError(f"seed: {seed} is no seed; use a whole number from 0 to {SEEDS - 1}")
        code = f"import random as _r, sys as _s; _r.seed({seed})\n"
        code += f"if 'numpy' in _s.modules: _s.modules['numpy'].random.seed({seed})\n"
        code += f"if 'torch' in _s.modules: _s.modules['torch'].manual_seed({seed})\n"
        await self._prepare(f"{code}del _r, _s")

    async def _prepare(self, code: str) -> None:
        """Runs code of our own, which no history shows."""
        await self._ask("execute_request", {"code": code, "silent": True, "store_history": False})

    async def _ask(self, kind: str, content: dict[str, Any], timeout_s: float = DEATH_TIMEOUT_S) -> None:
        """A request that is not the caller's. Raises :class:`SandboxError` when it fails."""
        cell = await self._line.request(kind, content)
        await asyncio.wait([cell.done], timeout=timeout_s)
        self._line.forget()
        if not cell.replied or cell.error is not None:
            raise SandboxError(f"the kernel failed at its {kind}: {cell.error or 'no answer'}")

    async def run(self, code: str, timeout_s: float | None = None, on_event: OnEvent | None = None) -> CellResult:
        """Runs one cell to its end, at most ``timeout_s`` plus the grace of an interrupt.

        A checkpoint that is kept, in half of that time at most, and the way back to it are not counted.
        ``on_event`` hears what the cell shows when it shows it, see :data:`sandbox.host.connection.OnEvent`.
        Raises ValueError for a time limit that is none, :class:`SandboxError` for a closed kernel or a sandbox that
        cannot start a process, never for what the cell does.
        """
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s: {timeout_s:g} is no time limit; give seconds above 0")
        async with self._turn:
            process = await self._live()
            limit_s = self._limits.cell_timeout_s if timeout_s is None else timeout_s
            if self._checkpoints is not None:
                limit_s -= await self._checkpoints.take(process, limit_s / 2)
            started, server = time.monotonic(), self._server
            try:
                cell, status = await self._run(process, code, max(0.0, limit_s), on_event)
            except BaseException:  # the caller was cancelled: the cell must not go on behind its back
                await self._lose()
                if self.recorder is not None:
                    self.recorder.cancelled(lost=self.process is None)
                raise
            finally:
                self._stop = None
                if self._checkpoints is not None:
                    self._checkpoints.drop()
            result = result_of(
                cell,
                self._limits.output_chars,
                status=status,
                seconds=time.monotonic() - started,
                state_survived=self.process is not None,
                rolled_back=self.process not in (None, process),
                tool_calls=server.calls,
            )
            if self.recorder is not None:
                self.recorder.cell(code, timeout_s, result)
            return result

    async def _run(
        self, process: Process, code: str, timeout_s: float, on_event: OnEvent | None
    ) -> tuple[Cell, Status]:
        """The cell, ended; the process is the next one when this has cost it."""
        self._server.begin_cell()
        # what dies in a sandbox that lives on must not be taken for what was killed there before
        kills = process.memory_kills() if process.root is not None else 0
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        content["followed"] = on_event is not None
        self._stop = asyncio.get_running_loop().create_future()
        cell = await self._line.request("execute_request", content, on_event)
        status, left = await end_of(cell, process, self._stop, timeout_s, self._limits.interrupt_grace_s, kills)
        self._line.forget()
        if not left:
            await self._lose()
            if self.process is None and self._checkpoints is not None and self._checkpoints.missing:
                cell.text["stderr"].append(f"no checkpoint to go back to: {self._checkpoints.missing}\n")
        return cell, status

    def interrupt(self) -> bool:
        """Ends the running cell as its time limit would; False when none runs.

        The cell's result is the error ``KeyboardInterrupt``, or ``timeout_killed`` when it did not stop.
        """
        if self._stop is None or self._stop.done():
            return False
        self._stop.set_result(None)
        return True

    async def put(self, path: str, data: bytes) -> None:
        """Writes a file of the workspace, making the folders above it; links are never followed.

        Raises ValueError for a path that leaves the workspace or leads over a link or a file, and for data larger than
        it, OSError for what the file system refuses; a file that was there is then as before.
        """
        async with self._turn:
            await self._put(await self._live(), path, data)
            if self.recorder is not None:
                self.recorder.put(path, data)

    async def _put(self, process: Process, path: str, data: bytes) -> None:
        await process.in_workspace(put_file, path, data, self._limits.workspace_mib << 20)

    async def get(self, path: str, limit_bytes: int = 16 << 20) -> bytes:
        """Reads a regular file of the workspace; links are never followed.

        Raises ValueError for a path that leaves the workspace or leads over a link, and for what is larger than
        ``limit_bytes`` or no regular file, OSError when it cannot be opened.
        """
        async with self._turn:
            return await (await self._live()).in_workspace(get_file, path, limit_bytes)

    async def fork(self, reseed: bool = False) -> Kernel:
        """A second kernel with this one's state and files; both go on independently, see :mod:`sandbox.state.fork`.

        ``reseed``: give its random generators new seeds; else they go on as here. Raises :class:`SandboxError` when
        there is no process to fork, or the kernel is stock ipykernel, whose threads would not survive it.
        """
        async with self._turn:
            if self._closed or self.process is None:
                raise SandboxError("there is no state to fork: the kernel is closed or its process is gone")
            if self.process.endpoints is not None:
                raise SandboxError("only the light kernel can be forked")
            twin = Kernel(self._source, self._tools, self._files, self._seed)
            twin.recorder = self.recorder.branch() if self.recorder is not None else None
            process = await self._source.fork(self.process)
            twin._connect(process, Line(process, self._limits))
            try:
                if reseed:
                    await twin.seed(secrets.randbelow(SEEDS))
            except BaseException:
                await twin.close()
                raise
            return twin

    async def seed(self, seed: int) -> None:
        """Gives the random generators of what is imported by now this seed."""
        async with self._turn:
            await self._live()
            await self._sow(seed)
            if self.recorder is not None:
                self.recorder.sow(seed)

    async def restart(self) -> None:
        """A fresh process: state and workspace as they were at the start."""
        async with self._turn:
            await self._discard()
            if self.recorder is not None:
                self.recorder.restart()

    async def close(self) -> None:
        """Ends the kernel. Returns when its process is gone; an idle one stays for the branches in its sandbox."""
        self._closed = True
        if self._stop is not None and self.process is not None:
            self.process.kill()
        await self._discard()
        if self._checkpoints is not None:
            await self._checkpoints.close()

    async def __aenter__(self) -> Kernel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _live(self) -> Process:
        """The process, a fresh one when the last cell cost the one before."""
        self._refuse_when_closed()
        if self.process is None:
            await self.begin()
        assert self.process is not None
        return self.process

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise SandboxError("this kernel is closed")

    async def _lose(self) -> None:
        """The cell has cost the process its life: go on from the checkpoint, without one afresh at the next cell."""
        dead = self.process
        if dead is None:
            return None
        dead.kill()
        if self._checkpoints is None:
            return await self._discard()
        self.process = None
        self._line.close()
        self._server.close()
        try:
            copy = await self._checkpoints.go_back(dead)
        except BaseException:
            await self._source.discard(dead)
            raise
        if copy is None:
            return await self._source.discard(dead)
        await self._source.replace(dead, copy)
        self._connect(copy, Line(copy, self._limits))
        try:
            self._refuse_when_closed()  # it may have been, while its files were put back
            await self._ask("resume_request", {}, RESUME_TIMEOUT_S)
        except SandboxError as error:
            self._checkpoints.missing = str(error)
            await self._discard()
        except BaseException:
            await self._discard()
            raise
        return None

    async def _discard(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            self._line.close()
            self._server.close()
            await self._source.discard(process)
