"""A checkpoint before each cell, so that a cell that kills its process loses only its own work.

Contract: :meth:`Checkpoints.create` forks the kernel into a sleeping copy and takes a snapshot of its files; the cell
then runs in the original process. When that process dies, :meth:`Checkpoints.roll_back` ends everything the cell
started, restores the files and returns the copy, which is the kernel from then on; otherwise
:meth:`Checkpoints.discard` ends the copy. A cell that leaves threads or processes running, which may end the kernel
before its next cell (:func:`leaves_something_running`), is followed by another checkpoint, which is kept until then.
Effects outside state and workspace are not undone: calls of tools, files in shared folders. The copy dates from before
the cell, so it is as trustworthy as the kernel was. Pages the cell rewrites exist twice until it ends, and count twice.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from pathlib import Path

from sandbox.host.orphans import kill_orphans
from sandbox.host.process import Process
from sandbox.host.process_source import ProcessSource
from sandbox.host.procfs import children, read_stat
from sandbox.result import SandboxError
from sandbox.state.fork import fork_process
from sandbox.workspace.snapshot import WorkspaceSnapshot

OOM_KILLED_FIRST, OOM_KILLED_LAST = 500, 0
RESTORE_TIMEOUT_S = 10.0
_numbers = itertools.count(1)


async def start_runner(first: Process) -> Process:
    """Replaces a new kernel by a fork of itself, so that the death of the kernel does not end its sandbox.

    The first process then only keeps the sandbox alive: a pid namespace ends with its first process. Raises
    :class:`SandboxError`; the kernel is gone then.
    """
    try:
        runner = await fork_process(first, 0, "runner")
    except BaseException:
        await first.server.remove(first)
        raise
    await first.server.remove(first)  # it stays while the runner or forks of it live in its sandbox
    for unused in (first.sock, first.tool_sock):
        unused.close()
    first.close_output()
    _set_oom_score(runner, OOM_KILLED_FIRST)
    return runner


class Checkpoints:
    """The checkpoints of one kernel, at most one at a time."""

    def __init__(self, source: ProcessSource) -> None:
        self._source = source
        self._copy: Process | None = None
        self._snapshot: WorkspaceSnapshot | None = None
        self._snapshot_root: Process | None = None
        self._removing: set[asyncio.Future[None]] = set()
        self.failure: str | None = None
        """Why the last cell has no checkpoint; None if it has one."""

    @property
    def kept(self) -> bool:
        """Whether there is a checkpoint now."""
        return self._copy is not None

    async def create(self, process: Process, limit_s: float) -> float:
        """Keeps state and files of ``process``. A kernel that cannot be copied runs without a checkpoint.

        Ends the checkpoint before, if there is one.
        ``limit_s``: time limit for the files. Returns the seconds spent in vain, 0 for a successful checkpoint.
        """
        self.discard()
        self.failure, began = None, time.monotonic()
        try:
            snapshot = await self._snapshot_of(process)
            files = asyncio.ensure_future(process.in_workspace(snapshot.update, began + limit_s))
            try:
                self._copy = await fork_process(process, 0, "checkpoint")
            finally:
                await files
            _set_oom_score(self._copy, OOM_KILLED_LAST)
        except BaseException as error:
            self.discard()
            if not isinstance(error, OSError | SandboxError):
                raise
            self.failure = str(error)
        return time.monotonic() - began if self.failure is not None else 0.0

    async def keep_files(self, process: Process, limit_s: float) -> None:
        """Takes over what the host has changed in the files; the copy stays as it is."""
        if self._copy is not None and self._snapshot is not None:
            try:
                await process.in_workspace(self._snapshot.update, time.monotonic() + limit_s)
            except OSError as error:
                self.discard()
                self.failure = str(error)

    def discard(self) -> None:
        """Ends the copy in the background, as the cell did not need it."""
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.kill()
            self._removing.add(removing := asyncio.ensure_future(copy.server.remove(copy)))
            removing.add_done_callback(self._removing.discard)

    async def roll_back(self, dead: Process) -> Process | None:
        """Returns the copy after the sandbox is cleaned up, None when that fails.

        Ends what ``dead``, which has been killed, had started, and restores the files.
        """
        copy, self._copy = self._copy, None
        if copy is None:
            return None
        assert copy.root is not None and self._snapshot is not None
        try:
            await asyncio.shield(dead.exited)
            kernels = {fork.pid() for fork in copy.root.forks if fork.pidfd >= 0}
            await asyncio.to_thread(kill_orphans, copy.root.pid(), kernels)
            await copy.in_workspace(self._snapshot.restore, time.monotonic() + RESTORE_TIMEOUT_S)
        except BaseException as error:
            await copy.server.remove(copy)
            if not isinstance(error, OSError):
                raise
            self.failure = str(error)
            return None
        _set_oom_score(copy, OOM_KILLED_FIRST)
        return copy

    async def close(self) -> None:
        """Ends the copy, if there is one, and removes the snapshot."""
        self.discard()
        await asyncio.gather(*self._removing)
        if self._snapshot is not None:
            await asyncio.to_thread(self._snapshot.close)

    async def _snapshot_of(self, process: Process) -> WorkspaceSnapshot:
        """The snapshot of this kernel's workspace; a fresh sandbox has another workspace."""
        if self._snapshot is None or self._snapshot_root is not process.root:
            if self._snapshot is not None:
                await asyncio.to_thread(self._snapshot.close)
            limits = self._source.limits
            folder = Path(process.server.base, f"snapshot-{next(_numbers)}")
            self._snapshot = WorkspaceSnapshot(folder, limits.workspace_mib, limits.workspace_inodes)
            self._snapshot_root = process.root
        return self._snapshot


def leaves_something_running(process: Process) -> bool:
    """Whether a kernel has threads or processes beside the one that runs its cells; costs 0.2 ms."""
    own, root = read_stat(process.pid()), process.root or process
    if own is None:
        return False
    kernels = {root.pid(), *(fork.pid() for fork in root.forks)}
    started = {pid for parent in (own.pid, root.pid()) for pid in children(parent)} - kernels
    return own.threads > 1 or any((stat := read_stat(pid)) is not None and stat.state not in "ZX" for pid in started)


def _set_oom_score(process: Process, score: int) -> None:
    """Out of memory, Linux kills the process with the highest score: the one that runs a cell, or its children."""
    with suppress(OSError):
        Path(f"/proc/{process.pid()}/oom_score_adj").write_text(str(score))
