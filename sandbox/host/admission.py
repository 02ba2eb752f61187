"""Decides whether another kernel may start, and keeps the queue of callers that wait for one.

Contract: a kernel is admitted while fewer than ``max_kernels`` are alive and free memory
(:mod:`sandbox.host.free_memory`) covers ``reserve_mib`` plus what a kernel needs to start. Waiting callers are served
in order, when a kernel ends or memory becomes free; after ``timeout_s`` they get a :class:`SandboxError` that says what
was missing. This bounds how many kernels start, not what they use later: they may grow into the reserve, each up to
its own limit. Costs 0.1 ms per fork and nothing when a warm kernel is ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from sandbox.host import free_memory
from sandbox.result import SandboxError

KERNEL_MIB = 16
"""Memory of a kernel that has just started: 6 MiB, page tables and namespaces, and its first imports."""
RECHECK_S = 0.25  # nothing announces memory that other programs free
T = TypeVar("T")


class Admission:
    """Counts the kernels of one pool and keeps its queue."""

    def __init__(self, max_kernels: int | None, reserve_mib: int, timeout_s: float) -> None:
        self._max_kernels, self._reserve_mib, self._timeout_s = max_kernels, reserve_mib, timeout_s
        self.kernels = 0
        """Kernels that are alive or starting."""
        self.waiting = 0
        """Callers in the queue."""
        self._head_of_queue = asyncio.Lock()
        self._changed = asyncio.Event()

    async def enter(self, pop_spare: Callable[[], T | None]) -> T | None:
        """Waits for room, then counts the caller's kernel and returns None; or returns what ``pop_spare`` gives up.

        Raises :class:`SandboxError` after the timeout.
        """
        if self.try_enter():
            return None
        self.waiting += 1
        try:
            return await asyncio.wait_for(self._wait(pop_spare), self._timeout_s)
        except TimeoutError:
            why = self._obstacle() or "other callers were served first"
            raise SandboxError(f"no kernel within {self._timeout_s:g} s: {why}") from None
        finally:
            self.waiting -= 1

    def try_enter(self) -> bool:
        """Counts a kernel if there is room and the queue is empty."""
        if self.waiting or self._obstacle() is not None:
            return False
        self.kernels += 1
        return True

    def leave(self) -> None:
        """Subtracts a kernel that has ended."""
        self.kernels -= 1
        self.notify()

    def notify(self) -> None:
        """Makes the first caller of the queue check again."""
        self._changed.set()

    def below_reserve(self) -> bool:
        """Whether free memory is less than the reserve."""
        return free_memory.free_mib() < self._reserve_mib

    async def _wait(self, pop_spare: Callable[[], T | None]) -> T | None:
        async with self._head_of_queue:  # a lock wakes its waiters in order
            while True:
                if self._obstacle() is None:
                    self.kernels += 1
                    return None
                if (found := pop_spare()) is not None:
                    return found
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), RECHECK_S)

    def _obstacle(self) -> str | None:
        """Why one more kernel may not start."""
        if self._max_kernels is not None and self.kernels >= self._max_kernels:
            return f"all {self._max_kernels} kernels (max_kernels) are in use"
        free, needed = free_memory.free_mib(), self._reserve_mib + KERNEL_MIB
        if free < needed:
            return f"{free} MiB of memory are free, {needed} needed (reserve_mib is {self._reserve_mib})"
        return None
