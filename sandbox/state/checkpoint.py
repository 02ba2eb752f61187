"""A checkpoint before each cell: a cell that costs the process its life costs the episode only that cell.

Contract: :meth:`Checkpoints.take` forks the kernel into a copy that sleeps and mirrors its files; the cell then runs in
the old process. When that one dies, :meth:`Checkpoints.go_back` ends everything the cell started, puts the files back
and gives the copy, which is the kernel from then on; else :meth:`Checkpoints.drop` ends the copy. What the cell
promises nobody is undone: messages to tools, files outside the workspace. The copy is from before the cell, so it is
to be trusted as much as the kernel was. Pages the cell rewrites exist twice until it ends and count twice.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from pathlib import Path

from sandbox.host.orphans import end_strays
from sandbox.host.process import Process
from sandbox.host.process_source import ProcessSource
from sandbox.result import SandboxError
from sandbox.state.fork import fork_process
from sandbox.workspace.snapshot import Mirror

EXPENDABLE, VALUED = 500, 0
RESTORE_TIMEOUT_S = 10.0
_numbers = itertools.count(1)


async def hand_over(first: Process) -> Process:
    """Hands a new kernel over to a fork of itself, so that its death is not that of the whole sandbox.

    The first process only keeps the sandbox alive from then on: in a pid namespace all others end with it. Raises
    :class:`SandboxError`; the kernel is gone then.
    """
    try:
        runner = await fork_process(first, 0, "runner")
    except BaseException:
        await first.server.remove(first)
        raise
    await first.server.remove(first)  # stays while the runner or what is forked from it lives in its sandbox
    for unused in (first.line, first.tools):
        unused.close()
    _set_oom_score(runner, EXPENDABLE)
    return runner


class Checkpoints:
    """The checkpoints of one kernel, at most one at a time."""

    def __init__(self, source: ProcessSource) -> None:
        self._source = source
        self._copy: Process | None = None
        self._mirror: Mirror | None = None
        self._mirrored: Process | None = None
        self._dropping: set[asyncio.Future[None]] = set()
        self.missing: str | None = None
        """Why there is no checkpoint of the last cell, where one could not be taken."""

    async def take(self, process: Process, limit_s: float) -> float:
        """Keeps state and files of ``process``; a kernel that does not let itself be copied runs without.

        ``limit_s``: how long its files may take. Returns the seconds such a kernel has kept the host waiting for
        nothing.
        """
        self.missing, began = None, time.monotonic()
        try:
            mirror = await self._mirror_of(process)
            files = asyncio.ensure_future(process.in_workspace(mirror.update, began + limit_s))
            try:
                self._copy = await fork_process(process, 0, "checkpoint")
            finally:
                await files
            _set_oom_score(self._copy, VALUED)
        except BaseException as error:
            self.drop()
            if not isinstance(error, OSError | SandboxError):
                raise
            self.missing = str(error)
        return time.monotonic() - began if self.missing is not None else 0.0

    def drop(self) -> None:
        """The cell went well: the copy is ended, in the background."""
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.kill()
            self._dropping.add(removing := asyncio.ensure_future(copy.server.remove(copy)))
            removing.add_done_callback(self._dropping.discard)

    async def go_back(self, dead: Process) -> Process | None:
        """Ends what ``dead``, killed by now, had started, puts the files back; gives the copy, None if that fails."""
        copy, self._copy = self._copy, None
        if copy is None:
            return None
        assert copy.root is not None and self._mirror is not None
        try:
            await asyncio.shield(dead.exited)
            kernels = {fork.pid() for fork in copy.root.branches if fork.pidfd >= 0}
            await asyncio.to_thread(end_strays, copy.root.pid(), kernels)
            await copy.in_workspace(self._mirror.restore, time.monotonic() + RESTORE_TIMEOUT_S)
        except BaseException as error:
            await copy.server.remove(copy)
            if not isinstance(error, OSError):
                raise
            self.missing = str(error)
            return None
        _set_oom_score(copy, EXPENDABLE)
        return copy

    async def close(self) -> None:
        """Ends the copy, if there is one, and removes the mirror."""
        self.drop()
        await asyncio.gather(*self._dropping)
        if self._mirror is not None:
            await asyncio.to_thread(self._mirror.close)

    async def _mirror_of(self, process: Process) -> Mirror:
        """The mirror of this kernel's workspace; a fresh sandbox has another workspace."""
        if self._mirror is None or self._mirrored is not process.root:
            if self._mirror is not None:
                await asyncio.to_thread(self._mirror.close)
            limits = self._source.limits
            folder = Path(process.server.base, f"mirror-{next(_numbers)}")
            self._mirror = Mirror(folder, limits.workspace_mib, limits.workspace_inodes)
            self._mirrored = process.root
        return self._mirror


def _set_oom_score(process: Process, score: int) -> None:
    """Whom Linux ends first when the memory is used up: what runs a cell and its children, not a copy."""
    with suppress(OSError):
        Path(f"/proc/{process.pid()}/oom_score_adj").write_text(str(score))
