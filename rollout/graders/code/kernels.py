"""Where the graders of code get kernels: those of the episode, else a pool of this process.

Contract: graders of code run in kernels and nowhere else. Inside an episode these are the episode's source of kernels,
with its isolation. A script has none; for it one pool is started in a thread when it is first needed, with the best
isolation of this machine; it ends with this process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from sandbox import CellResult, KernelPool, Limits

MEMORY_MIB = 1024
TOOL_CALLS = 100_000


class TestKernel(Protocol):
    """A kernel as the graders use it."""

    async def run(self, code: str, timeout_s: float | None = None) -> CellResult:
        """Runs one cell."""

    async def close(self) -> None:
        """Ends the kernel."""


class Kernels(Protocol):
    """Gives fresh kernels; :class:`rollout.kernel_source.KernelSource` is one."""

    async def acquire(self, tools: Mapping[str, Callable[..., Any]]) -> TestKernel:
        """A fresh kernel whose cells can call ``tools``. Raises :class:`sandbox.SandboxError`."""


class OwnKernels:
    """A pool on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: KernelPool | None = None

    def run(self, work: Callable[[Kernels], Coroutine[Any, Any, Any]]) -> Any:
        """The result of a coroutine that gets the pool; blocks. Raises what it raises."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="code graders", daemon=True).start()
                self._pool = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        assert self._pool is not None
        return asyncio.run_coroutine_threadsafe(work(self._pool), self._loop).result()

    @staticmethod
    async def _open() -> KernelPool:
        limits = Limits(memory_mib=MEMORY_MIB, tool_calls_per_cell=TOOL_CALLS)
        pool = KernelPool(size=2, limits=limits, preload=("numpy",))
        await pool.start()
        return pool

    def close(self) -> None:
        """Ends the kernels; a later call starts others."""
        with self._lock:
            loop, pool, self._loop, self._pool = self._loop, self._pool, None, None
        if loop is not None and pool is not None:
            asyncio.run_coroutine_threadsafe(pool.close(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)


OWN = OwnKernels()
