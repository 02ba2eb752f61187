"""A pool of warm kernels on one machine.

Contract: one fork server, ``size`` kernels kept ready; :meth:`KernelPool.acquire` hands one out (about a millisecond
when one is ready, one fork otherwise) and the pool forks the next in the background. Any number of pools may live on a
machine, one per Ray actor for example; a pool belongs to the event loop that started it. A kernel is only started when
there is room for it (:mod:`sandbox.host.admission`), and warm ones are given up first. A fork server that dies is
started again; its kernels are lost, counted and logged, and their handles go on with fresh ones.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal

from sandbox.host.admission import Admission
from sandbox.host.endpoints import Endpoints
from sandbox.host.fork_server import ForkServer
from sandbox.host.process import Process
from sandbox.host.watchdog import watch_over
from sandbox.isolation.policy import Policy, settle
from sandbox.isolation.probe import Tier, choose
from sandbox.kernel import Kernel
from sandbox.limits import Limits
from sandbox.result import SandboxError
from sandbox.state.checkpoint import hand_over
from sandbox.state.fork import fork_process
from sandbox.tools.describe import Tool

REFILL_AFTER_S = 0.005
KERNELS = ("light", "ipykernel")
DEFAULT_PRELOAD = ("numpy", "pandas")
log = logging.getLogger(__name__)


def check_kernel(kernel: str) -> None:
    """Raises ValueError for a kernel there is none of."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel: {kernel!r} is none of {', '.join(KERNELS)}")


class KernelPool:
    """Use as ``async with KernelPool(...) as pool`` or with :meth:`start` and :meth:`close`."""

    def __init__(
        self,
        size: int = 4,
        limits: Limits | None = None,
        preload: tuple[str, ...] = DEFAULT_PRELOAD,
        tier: Tier | None = None,
        require: Iterable[str] = (),
        kernel: Literal["light", "ipykernel"] = "light",
        checkpoint: bool = False,
        policy: Policy | None = None,
        max_kernels: int | None = None,
        reserve_mib: int = 512,
        acquire_timeout_s: float = 60.0,
    ) -> None:
        """``tier``: None takes the best one; ``require``: properties (of ``sandbox.probe``) that must be enforced.

        ``kernel``: ours, or stock ipykernel for what ours leaves out. ``checkpoint``: keep state and files before each
        cell, so that a cell which costs its process the life costs no more than itself. ``policy``: hosts, folders and
        GPUs kernels may reach. ``max_kernels``: alive at once, warm ones and branches included; ``reserve_mib``: memory
        no kernel is started into; ``acquire_timeout_s``: how long to wait for room.
        Raises :class:`SandboxError` when something cannot be had: the pool is never weaker than asked for.
        """
        if size < 0:
            raise ValueError(f"size: {size} kernels cannot be kept ready; use 0 or more")
        if max_kernels is not None and max_kernels < max(1, size):
            raise ValueError(f"max_kernels: {max_kernels} is less than the {max(1, size)} to be ready; raise it")
        check_kernel(kernel)
        if checkpoint and kernel != "light":
            raise ValueError(f"checkpoint: a kernel {kernel!r} cannot be forked; use kernel='light' or no checkpoints")
        self.limits = limits or Limits()
        self.checkpoint = checkpoint
        self.policy = policy or Policy()
        self._size, self._preload = size, preload
        self._kernel = kernel
        self._tier = choose(tier, {*require, *self.limits.requires})
        settle(self.policy, self._tier)
        self._admission = Admission(max_kernels, reserve_mib, acquire_timeout_s)
        self.lost = 0
        """Kernels that ended because a fork server died."""
        self._ready: deque[Process] = deque()
        self.server: ForkServer | None = None
        """The fork server that runs now."""
        self._restart = asyncio.Lock()
        self._refilling: asyncio.Task[None] | None = None
        self._taken: set[Process] = set()
        self._branches = 0
        self._watching: asyncio.Task[None] | None = None
        self._started = self._served = False

    @property
    def tier(self) -> Tier:
        """The isolation tier that holds."""
        return self._tier

    @property
    def ready(self) -> int:
        """Warm kernels."""
        return len(self._ready)

    @property
    def waiting(self) -> int:
        """Callers that wait for room."""
        return self._admission.waiting

    async def start(self) -> None:
        """Starts the fork server and the first kernels. Raises :class:`SandboxError`."""
        self._started = True
        await self._live_server()
        self._watching = watch_over(self._taken, self.limits, self._tier)
        self._refill()

    async def acquire(
        self,
        tools: Mapping[str, Tool] | None = None,
        files: Mapping[str, bytes] | None = None,
        seed: int | None = None,
        record: bool = False,
    ) -> Kernel:
        """A kernel of one's own with these host functions and these files in its working folder.

        ``seed``: for its random generators (0 to 2**32 - 1); ``record``: keep a log for :func:`sandbox.replay.restore`.
        """
        kernel = Kernel(self, tools or {}, files or {}, seed, record)
        await kernel.begin()
        return kernel

    async def take(self) -> Process:
        """A fresh process: a warm one, else a new one as soon as there is room. Raises :class:`SandboxError`."""
        self._refuse_when_not_running()
        process = self._warm() if not self._admission.waiting else None
        if process is None:
            try:
                process = await self._admission.enter(self._warm) or await self._admitted(self._start_process())
            except OSError as error:  # no descriptor left, for example
                raise SandboxError(f"no kernel: {error}") from None
        self._served = True
        self._taken.add(process)
        self._refill()
        return process

    async def fork(self, process: Process) -> Process:
        """A fork of a process that was taken; takes the place of a warm kernel when there is no other."""
        spare = await self._admission.enter(self._warm)
        if spare is not None:
            await spare.server.remove(spare)
        self._branches += 1
        branch = await self._admitted(fork_process(process, self._branches, "branch"))
        self._taken.add(branch)
        return branch

    async def replace(self, dead: Process, copy: Process) -> None:
        """A checkpoint takes the place of a process that was taken."""
        self._taken.remove(dead)
        self._taken.add(copy)
        copy.folder, dead.folder = dead.folder, ""  # the copy goes on working there
        await dead.server.remove(dead)

    async def discard(self, process: Process) -> None:
        """Kills a process that was taken."""
        if process in self._taken:
            self._taken.remove(process)
            await process.server.remove(process)
            self._admission.leave()
            self._refill()

    async def close(self) -> None:
        """Ends every kernel, handed out or not, and the fork server."""
        self._started = False
        for task in (self._refilling, self._watching):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        if self.server is not None:
            await self.server.close()
        for process in (*self._ready, *self._taken):
            process.release()
            if process.root is not None:
                process.root.release()
        self._ready.clear()
        self._taken.clear()
        self._admission.kernels = 0

    async def __aenter__(self) -> KernelPool:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _warm(self) -> Process | None:
        """A kernel that is ready and alive, no longer the pool's own."""
        while self._ready:
            process = self._ready.popleft()
            if not process.exited.done():
                return process
            process.server.abandon(process)
            self._admission.leave()
        return None

    def _refill(self) -> None:
        if self._started and (self._refilling is None or self._refilling.done()):
            self._refilling = asyncio.ensure_future(self._fill())

    async def _fill(self) -> None:
        with suppress(SandboxError):  # the caller who finds the pool empty gets to hear of it
            await asyncio.sleep(REFILL_AFTER_S)  # the caller's first cell goes first
            while self._ready and self._admission.lacks_memory() and (spare := self._warm()) is not None:
                await spare.server.remove(spare)
                self._admission.leave()
            while self._started and len(self._ready) < self._size and self._admission.try_enter():
                self._ready.append(await self._admitted(self._start_process(rehearse=True)))
                self._admission.announce()

    async def _admitted(self, start: Coroutine[Any, Any, Process]) -> Process:
        """Starts a kernel there is room for; gives the room back when that fails."""
        try:
            return await start
        except BaseException:
            self._admission.leave()
            raise

    async def _start_process(self, rehearse: bool = False) -> Process:
        server = await self._live_server()
        stock = self._kernel == "ipykernel"
        endpoints = Endpoints(secrets.token_hex(16), parent=server.base) if stock else None
        process = await server.fork(endpoints, rehearse)
        return await hand_over(process) if self.checkpoint else process

    def _refuse_when_not_running(self) -> None:
        if not self._started:
            raise SandboxError("the pool is not running: use `async with pool` or `await pool.start()`")

    async def _live_server(self) -> ForkServer:
        self._refuse_when_not_running()  # it may have been closed while its caller waited for room
        async with self._restart:
            if self.server is None or not self.server.alive:
                if self.server is not None:
                    await self.server.close()
                self._served = False
                self.server = ForkServer(self.limits, self._preload, self.tier, self._kernel, policy=self.policy)
                await self.server.start()
                self.server.died.add_done_callback(self._on_death)
            return self.server

    def _on_death(self, died: asyncio.Future[int]) -> None:
        """A fork server died by itself; a new one is started at once if the last was of any use."""
        self.lost += died.result()
        log.warning("the fork server died and %d kernels with it; a fresh one takes its place", died.result())
        for process in [process for process in self._ready if not process.server.alive]:
            self._ready.remove(process)
            process.server.abandon(process)
            self._admission.leave()
        if self._served and self._refilling is not None and not self._refilling.done():
            self._refilling.add_done_callback(lambda _: self._refill())  # its fork died with the server
        elif self._served:
            self._refill()
