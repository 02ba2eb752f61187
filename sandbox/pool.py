"""A pool of warm kernels on one machine.

Contract: one fork server, ``size`` kernels kept ready. :meth:`KernelPool.acquire` hands one out (about a millisecond
when one is ready, one fork otherwise) and the pool forks the next in the background. Any number of pools may run on a
machine, for example one per Ray actor; a pool belongs to the event loop that started it. A kernel starts only when
there is room for it (:mod:`sandbox.host.admission`); warm kernels make room first. A fork server that dies is
restarted; its kernels are lost, counted and logged, and their handles continue with fresh processes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.host.admission import Admission
from sandbox.host.endpoints import Endpoints
from sandbox.host.fork_server import ForkServer
from sandbox.host.process import Process
from sandbox.host.watchdog import start_watchdog
from sandbox.isolation.policy import Policy, resolve_policy
from sandbox.isolation.probe import Tier, choose_tier
from sandbox.kernel import Kernel
from sandbox.limits import Limits
from sandbox.result import SandboxError
from sandbox.state.checkpoint import start_runner
from sandbox.state.fork import fork_process
from sandbox.tools.describe import Tool

REFILL_AFTER_S = 0.005
KERNELS = ("light", "ipykernel")
DEFAULT_PRELOAD = ("numpy", "pandas")
log = logging.getLogger(__name__)


def check_kernel(kernel: str) -> None:
    """Raises ValueError for an unknown kind of kernel."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(KERNELS)} (got {kernel!r})")


@dataclass(frozen=True)
class PoolStats:
    """The state of a pool at one moment."""

    ready: int
    """Warm kernels that are alive."""
    forking: int
    """Kernels the fork server was asked for and has not delivered."""
    taken: int
    """Processes behind handles, forks included."""
    waiting: int
    """Callers that wait for room."""
    lost: int
    """Kernels that ended since the start because a fork server died."""
    warm_pids: tuple[int, ...]
    """Process ids of the ready kernels."""


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

        ``kernel``: the light one, or stock ipykernel for features the light one omits. ``checkpoint``: keep state and
        files before each cell, so that a cell that kills its process loses only its own work. ``policy``: hosts,
        folders and GPUs kernels may reach. ``max_kernels``: alive at once, warm ones and forks included;
        ``reserve_mib``: free memory below which no kernel is started; ``acquire_timeout_s``: how long to wait for room.
        Raises ValueError for invalid values, :class:`SandboxError` when this machine cannot provide what is requested:
        the pool is never weaker.
        """
        if size < 0:
            raise ValueError(f"size must be >= 0 (got {size})")
        if max_kernels is not None and max_kernels < max(1, size):
            raise ValueError(f"max_kernels must be >= {max(1, size)}, the number kept ready (got {max_kernels})")
        check_kernel(kernel)
        if checkpoint and kernel != "light":
            raise ValueError(f"checkpoint: a kernel {kernel!r} cannot be forked; use kernel='light' or no checkpoints")
        self.limits = limits or Limits()
        self.checkpoint = checkpoint
        self.policy = policy or Policy()
        self._size, self._preload = size, preload
        self._kernel = kernel
        self._tier = choose_tier(tier, {*require, *self.limits.requires})
        resolve_policy(self.policy, self._tier)
        self._admission = Admission(max_kernels, reserve_mib, acquire_timeout_s)
        self.lost = 0
        """Kernels that ended because a fork server died."""
        self._ready: deque[Process] = deque()
        self.server: ForkServer | None = None
        """The current fork server."""
        self._restart = asyncio.Lock()
        self._refilling: asyncio.Task[None] | None = None
        self._taken: set[Process] = set()
        self._fork_count = 0
        self._watchdog: asyncio.Task[None] | None = None
        self._started = self._served = False

    @property
    def tier(self) -> Tier:
        """The isolation tier of every kernel."""
        return self._tier

    @property
    def ready(self) -> int:
        """Warm kernels that are alive."""
        return sum(not process.exited.done() for process in self._ready)

    @property
    def waiting(self) -> int:
        """Callers that wait for room."""
        return self._admission.waiting

    def stats(self) -> PoolStats:
        """What the pool holds now. Costs one small read per warm kernel."""
        return PoolStats(
            ready=self.ready,
            forking=self.server.pending if self.server is not None else 0,
            taken=len(self._taken),
            waiting=self.waiting,
            lost=self.lost,
            warm_pids=tuple(process.pid() for process in self._ready if not process.exited.done()),
        )

    async def start(self) -> None:
        """Starts the fork server and the first kernels. Raises :class:`SandboxError`."""
        self._started = True
        await self._live_server()
        self._watchdog = start_watchdog(self._taken, self.limits, self._tier)
        self._refill()

    async def acquire(
        self,
        tools: Mapping[str, Tool] | None = None,
        files: Mapping[str, bytes] | None = None,
        seed: int | None = None,
        record: bool = False,
    ) -> Kernel:
        """A kernel with these host functions and these files in its working folder.

        ``seed``: for its random generators, in [0, 2**32); ``record``: keep a log for :func:`sandbox.restore`.
        Raises :class:`SandboxError` when there is no room in time.
        """
        kernel = Kernel(self, tools or {}, files or {}, seed, record)
        await kernel.start()
        return kernel

    async def take(self) -> Process:
        """A warm process, else a new one as soon as there is room. Raises :class:`SandboxError`."""
        self._raise_if_not_running()
        process = self._pop_warm() if not self._admission.waiting else None
        if process is None:
            try:
                process = await self._admission.enter(self._pop_warm) or await self._admitted(self._start_process())
            except OSError as error:  # for example: too many open files
                raise SandboxError(f"no kernel: {error}") from None
        self._served = True
        self._taken.add(process)
        self._refill()
        return process

    async def fork(self, process: Process) -> Process:
        """A fork of a process that was taken; ends a warm kernel when there is no room otherwise."""
        spare = await self._admission.enter(self._pop_warm)
        if spare is not None:
            await spare.server.remove(spare)
        self._fork_count += 1
        fork = await self._admitted(fork_process(process, self._fork_count, "branch"))
        self._taken.add(fork)
        return fork

    async def replace(self, dead: Process, copy: Process) -> None:
        """Removes a dead process that was taken and counts its checkpoint as taken instead."""
        self._taken.remove(dead)
        self._taken.add(copy)
        copy.folder, dead.folder = dead.folder, ""  # the copy keeps the workspace
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
        for task in (self._refilling, self._watchdog):
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

    def _pop_warm(self) -> Process | None:
        """A live warm kernel, removed from the ready ones."""
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
        with suppress(SandboxError):  # a caller that needs a kernel gets the error
            await asyncio.sleep(REFILL_AFTER_S)  # lets the caller's first cell run first
            while self._ready and self._admission.below_reserve() and (spare := self._pop_warm()) is not None:
                await spare.server.remove(spare)
                self._admission.leave()
            while self._started and len(self._ready) < self._size and self._admission.try_enter():
                self._ready.append(await self._admitted(self._start_process(rehearse=True)))
                self._admission.notify()

    async def _admitted(self, start: Coroutine[Any, Any, Process]) -> Process:
        """Starts a kernel that was admitted; gives its room back when that fails."""
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
        return await start_runner(process) if self.checkpoint else process

    def _raise_if_not_running(self) -> None:
        if not self._started:
            raise SandboxError("the pool is not running: use `async with pool` or `await pool.start()`")

    async def _live_server(self) -> ForkServer:
        self._raise_if_not_running()  # it may have been closed while its caller waited for room
        async with self._restart:
            if self.server is None or not self.server.alive:
                if self.server is not None:
                    await self.server.close()
                self._served = False
                self.server = ForkServer(self.limits, self._preload, self.tier, self._kernel, policy=self.policy)
                await self.server.start()
                self.server.died.add_done_callback(self._on_server_death)
            return self.server

    def _on_server_death(self, died: asyncio.Future[int]) -> None:
        """Starts another fork server if this one has served a kernel; else the next caller does, and gets the error."""
        self.lost += died.result()
        log.warning("the fork server died and %d kernels with it; another one is started", died.result())
        for process in [process for process in self._ready if not process.server.alive]:
            self._ready.remove(process)
            process.server.abandon(process)
            self._admission.leave()
        if self._served and self._refilling is not None and not self._refilling.done():
            self._refilling.add_done_callback(lambda _: self._refill())  # its pending fork fails with the server
        elif self._served:
            self._refill()
