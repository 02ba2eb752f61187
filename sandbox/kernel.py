"""The handle a caller holds: one stateful kernel, across the deaths of the process behind it.

Contract: :meth:`Kernel.run` runs cells one after another in one process and returns a result for each. When a cell
kills the process, the kernel goes on from its checkpoint (``rolled_back``) if the pool keeps checkpoints; otherwise the
result has ``state_survived=False`` and the next cell runs in a fresh process with the same tools, initial files and
seed. :meth:`Kernel.close` destroys it. A kernel belongs to one caller.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from sandbox.host.completion import build_result, wait_for_completion
from sandbox.host.connection import OnEvent, PendingExecution, SocketConnection
from sandbox.host.last_words import add_last_words
from sandbox.host.process import Process
from sandbox.host.process_source import ProcessSource
from sandbox.host.zmq_connection import ZmqConnection, open_connection
from sandbox.limits import Limits
from sandbox.result import CellResult, SandboxError, Status
from sandbox.state.checkpoint import Checkpoints, leaves_something_running
from sandbox.state.session_log import Recorder, SessionLog
from sandbox.tools.describe import Tool, describe_tools, forked_tools
from sandbox.tools.invoke import Invoke, ToolInvoker
from sandbox.tools.server import ToolServer
from sandbox.workspace.files import get_file, put_file

REQUEST_TIMEOUT_S, RESUME_TIMEOUT_S, KEEP_TIMEOUT_S = 10.0, 2.0, 2.0
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
        self._tool_descriptions = describe_tools(self._tools)
        self._checkpoints = Checkpoints(source) if source.checkpoint else None
        self._invoke: Invoke = ToolInvoker(self._tools).invoke
        self.recorder = Recorder(SessionLog.begin(seed, self._tools, self._files), self._invoke) if record else None
        """Keeps the log for :func:`sandbox.restore`, when the kernel was acquired with ``record=True``."""
        self.process: Process | None = None
        """The current process; None between a death and the next cell."""
        self.shared: tuple[str, ...] = ()
        """Of a fork: the open files it still shares with the kernel it came from, and the connections of that kernel
        that are closed here, one line each. The kernel reports them itself."""
        self._connection: SocketConnection | ZmqConnection
        self._tool_server: ToolServer
        self._lock = asyncio.Lock()
        self._stop: asyncio.Future[None] | None = None
        self._closed = False
        self._note = ""
        """What the result of the next cell says on ``stderr`` about the time before it."""

    @property
    def tier(self) -> str:
        """The isolation tier of this kernel."""
        return self._source.tier

    @property
    def busy(self) -> bool:
        """Whether a cell is running, which :meth:`interrupt` would end."""
        return self._stop is not None and not self._stop.done()

    async def start(self) -> None:
        """Takes a fresh process and sets it up with tools, files and seed; on failure no process is kept."""
        process = await self._source.take()
        try:
            await self._setup(process)
            self._raise_if_closed()
        except BaseException:
            await self._discard_process()
            await self._source.discard(process)
            raise

    async def _setup(self, process: Process) -> None:
        self._attach(process, await open_connection(process, self._limits))
        for path, data in self._files.items():
            await self._put(process, path, data)
        if self._tool_descriptions:
            text = json.dumps(self._tool_descriptions)
            code = "import json as _j, sys as _s; _s.modules['sandbox.guest.tool_proxies'].TOOLS.install"
            await self._run_silently(f"{code}(_j.loads({text!r}), globals()); del _j, _s")
        if self._seed is not None:
            await self._set_seed(self._seed)

    def _attach(self, process: Process, connection: SocketConnection | ZmqConnection) -> None:
        self.process, self._connection = process, connection
        self._tool_server = ToolServer(process, self.recorder.invoke if self.recorder else self._invoke, self._limits)

    async def _set_seed(self, seed: int) -> None:
        if not isinstance(seed, Integral) or not 0 <= seed < SEEDS:
            raise ValueError(f"seed must be an integer in [0, 2**32) (got {seed})")
        code = f"import random as _r, sys as _s; _r.seed({seed})\n"
        code += f"if 'numpy' in _s.modules: _s.modules['numpy'].random.seed({seed})\n"
        code += f"if 'torch' in _s.modules: _s.modules['torch'].manual_seed({seed})\n"
        await self._run_silently(f"{code}del _r, _s")

    async def _run_silently(self, code: str) -> None:
        """Runs code that is not part of the history."""
        await self._request("execute_request", {"code": code, "silent": True, "store_history": False})

    async def _request(self, kind: str, content: dict[str, Any], timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        """Sends a request of the handle itself. Raises :class:`SandboxError` when it fails."""
        pending = await self._connection.request(kind, content)
        await asyncio.wait([pending.done], timeout=timeout_s)
        self._connection.forget()
        if not pending.replied or pending.error is not None:
            raise SandboxError(f"the kernel failed at its {kind}: {pending.error or 'no answer'}")

    async def run(self, code: str, timeout_s: float | None = None, on_event: OnEvent | None = None) -> CellResult:
        """Runs one cell, for at most ``timeout_s`` plus the grace of an interrupt.

        A checkpoint takes at most half of ``timeout_s``; a successful checkpoint and a rollback are not counted.
        ``on_event`` is called with output as the cell produces it, see :data:`sandbox.host.connection.OnEvent`.
        Raises ValueError for an invalid ``timeout_s``, :class:`SandboxError` for a closed kernel or when no process
        can be started, never for what the cell does.
        """
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s must be > 0 (got {timeout_s:g})")
        async with self._lock:
            process = await self._live_process()
            note, self._note = self._note, ""
            limit_s = self._limits.cell_timeout_s if timeout_s is None else timeout_s
            if self._checkpoints is not None:
                limit_s -= await self._checkpoints.create(process, limit_s / 2)
            started, tool_server = time.monotonic(), self._tool_server
            try:
                pending, status = await self._run(process, code, max(0.0, limit_s), on_event)
            except BaseException:  # the caller was cancelled, so the cell must end, too
                await self._recover()
                if self.recorder is not None:
                    self.recorder.record_cancelled(lost=self.process is None)
                raise
            finally:
                self._stop = None
                if self._checkpoints is not None:
                    self._checkpoints.discard()
            pending.notes += [note] if note else []
            result = build_result(
                pending,
                self._limits.output_chars,
                status=status,
                seconds=time.monotonic() - started,
                state_survived=self.process is not None,
                rolled_back=self.process not in (None, process),
                tool_calls=tool_server.calls,
            )
            if self.recorder is not None:
                self.recorder.record_cell(code, timeout_s, result)
            await self._keep(bool(self._checkpoints and self.process and leaves_something_running(self.process)))
            return result

    async def _keep(self, needed: bool) -> None:
        """Takes a checkpoint for the time until the next cell."""
        if needed and self._checkpoints is not None and self.process is not None:
            await self._checkpoints.create(self.process, KEEP_TIMEOUT_S)

    async def _run(
        self, process: Process, code: str, timeout_s: float, on_event: OnEvent | None
    ) -> tuple[PendingExecution, Status]:
        """Runs the cell to its end; afterwards ``self.process`` is another one, or None, if the cell killed it."""
        self._tool_server.begin_cell()
        # a sandbox that outlives its process has kills of earlier cells on its count
        memory_kills = process.memory_kills() if process.root is not None else 0
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        content["followed"] = on_event is not None
        self._stop = asyncio.get_running_loop().create_future()
        pending = await self._connection.request("execute_request", content, on_event)
        grace_s = self._limits.interrupt_grace_s
        status, alive = await wait_for_completion(pending, process, self._stop, timeout_s, grace_s, memory_kills)
        if not alive:
            process.kill()
            await asyncio.shield(process.exited)
            add_last_words(pending, process, self._connection.drain, self._limits.output_chars)
        self._connection.forget()
        pending.late_output = self._connection.late.collect()
        if not alive:
            await self._recover()
            if self.process is None and self._checkpoints is not None and self._checkpoints.failure:
                pending.notes.append(f"no checkpoint to go back to: {self._checkpoints.failure}\n")
        return pending, status

    async def interrupt(self) -> bool:
        """Ends the running cell as its time limit would; returns False when none runs, and does not wait for the end.

        The cell's result is the error ``KeyboardInterrupt``, or ``timeout_killed`` when it did not stop.
        """
        if self._stop is None or self._stop.done():
            return False
        self._stop.set_result(None)
        return True

    async def put(self, path: str, data: bytes) -> None:
        """Writes a file of the workspace and creates the folders above it; links are never followed.

        Raises ValueError for a path that leaves the workspace or leads over a link or a file, and for data larger than
        the workspace, OSError for errors of the file system; an existing file is then unchanged.
        """
        async with self._lock:
            await self._put(await self._live_process(), path, data)
            if self.recorder is not None:
                self.recorder.record_put(path, data)
            if self._checkpoints is not None and self.process is not None:
                await self._checkpoints.keep_files(self.process, KEEP_TIMEOUT_S)

    async def _put(self, process: Process, path: str, data: bytes) -> None:
        await process.in_workspace(put_file, path, data, self._limits.workspace_mib << 20)

    async def get(self, path: str, limit_bytes: int = 16 << 20) -> bytes:
        """Reads a regular file of the workspace; links are never followed.

        Raises ValueError for a path that leaves the workspace or leads over a link, and for anything larger than
        ``limit_bytes`` or not a regular file, OSError when it cannot be opened.
        """
        async with self._lock:
            return await (await self._live_process()).in_workspace(get_file, path, limit_bytes)

    async def fork(self, reseed: bool = False, tools: Mapping[str, Tool] | None = None) -> Kernel:
        """A second kernel with this one's state and files; both go on independently, see :mod:`sandbox.state.fork`.

        Open files of the workspace are the fork's own, at their position; :attr:`shared` of the fork names the others.
        ``reseed``: give its random generators new seeds; by default they continue as here. ``tools``: the functions
        that its cells call, under the names of this kernel's tools; by default the same functions, which then share
        their state. Raises ValueError for other names, :class:`SandboxError` when there is no process to fork, or the
        kernel is stock ipykernel, whose threads would not survive a fork.
        """
        theirs = forked_tools(self._tools, tools)
        async with self._lock:
            await self._revive()
            if self._closed or self.process is None:
                raise SandboxError("there is no state to fork: the kernel is closed or its process is gone")
            if self.process.endpoints is not None:
                raise SandboxError("only the light kernel can be forked")
            fork = Kernel(self._source, theirs, self._files, self._seed)
            fork.recorder = self.recorder.fork(fork._invoke) if self.recorder is not None else None
            process = await self._source.fork(self.process)
            fork._attach(process, SocketConnection(process, self._limits))
            fork.shared = process.shared
            try:
                if reseed:
                    await fork.seed(secrets.randbelow(SEEDS))
            except BaseException:
                await fork.close()
                raise
            return fork

    async def seed(self, seed: int) -> None:
        """Seeds ``random`` and, if they are imported by now, numpy's and torch's global generators."""
        async with self._lock:
            await self._live_process()
            await self._set_seed(seed)
            if self.recorder is not None:
                self.recorder.record_seed(seed)
            await self._keep(self._checkpoints is not None and self._checkpoints.kept)

    async def restart(self) -> None:
        """Discards the process; the next cell finds state and workspace as they were at the start."""
        async with self._lock:
            await self._discard_process()
            if self._checkpoints is not None:
                self._checkpoints.discard()
            if self.recorder is not None:
                self.recorder.record_restart()

    async def close(self) -> None:
        """Ends the kernel. Returns when its process is gone; an idle one stays while forks live in its sandbox."""
        self._closed = True
        if self._stop is not None and self.process is not None:
            self.process.kill()
        await self._discard_process()
        if self._checkpoints is not None:
            await self._checkpoints.close()

    async def __aenter__(self) -> Kernel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _live_process(self) -> Process:
        """The process; a fresh one when the last cell killed it."""
        self._raise_if_closed()
        await self._revive()
        if self.process is None:
            await self.start()
        assert self.process is not None
        return self.process

    async def _revive(self) -> None:
        """Goes on from the end of the last cell if the process has ended since and a checkpoint was kept."""
        kept = self._checkpoints is not None and self._checkpoints.kept
        if kept and not self._closed and self.process is not None and self.process.ended():
            await self._recover()
            left = "are as at the end of the cell before" if self.process is not None else "are lost"
            self._note = f"the kernel ended between cells; variables and files {left}\n"

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise SandboxError("this kernel is closed")

    async def _recover(self) -> None:
        """Kills the process and goes on from its checkpoint; without one, ``process`` is None until the next cell."""
        dead = self.process
        if dead is None:
            return None
        dead.kill()
        if self._checkpoints is None:
            return await self._discard_process()
        self.process = None
        self._connection.close()
        self._tool_server.close()
        try:
            copy = await self._checkpoints.roll_back(dead)
        except BaseException:
            await self._source.discard(dead)
            raise
        if copy is None:
            return await self._source.discard(dead)
        await self._source.replace(dead, copy)
        self._attach(copy, SocketConnection(copy, self._limits))
        try:
            self._raise_if_closed()  # close() may have been called while the files were restored
            await self._request("resume_request", {}, RESUME_TIMEOUT_S)
        except SandboxError as error:
            self._checkpoints.failure = str(error)
            await self._discard_process()
        except BaseException:
            await self._discard_process()
            raise
        return None

    async def _discard_process(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            self._connection.close()
            self._tool_server.close()
            await self._source.discard(process)
