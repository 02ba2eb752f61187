"""Where a kernel gets its processes from: the part of a pool that kernels and checkpoints use."""

from __future__ import annotations

from typing import Protocol

from sandbox.host.process import Process
from sandbox.limits import Limits


class ProcessSource(Protocol):
    """Hands out processes and takes them back. :class:`sandbox.KernelPool` is one."""

    limits: Limits
    checkpoint: bool
    """Whether a checkpoint is taken before each cell."""

    @property
    def tier(self) -> str:
        """The isolation tier of its processes."""
        ...

    async def take(self) -> Process:
        """A fresh process. Raises :class:`sandbox.SandboxError` when there is none in time."""
        ...

    async def fork(self, process: Process) -> Process:
        """A fork of a process that was taken. Raises :class:`sandbox.SandboxError`."""
        ...

    async def replace(self, dead: Process, copy: Process) -> None:
        """Removes ``dead`` and counts ``copy`` as taken in its place."""
        ...

    async def discard(self, process: Process) -> None:
        """Kills and removes a process that was taken."""
        ...
