"""Whether there is room for one more kernel, and the queue of those who wait for it.

Contract: a kernel is let in while fewer than ``max_kernels`` are alive and the memory left
(:mod:`sandbox.host.free_memory`) covers ``reserve_mib`` and what a kernel needs to start. Those who must wait are
served in the order they came, when a kernel is given back or memory returns; after ``timeout_s`` they get a
:class:`SandboxError` that says what was missing. This bounds how many kernels start, not what they use later: the
reserve is what they all may grow into, and each one's own limit holds it. Costs 0.1 ms per fork and nothing when a warm
kernel is at hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from sandbox.host import free_memory
from sandbox.result import SandboxError

KERNEL_MIB = 16
"""What a kernel takes when it starts: 6 MiB of its own, page tables and namespaces, and its first imports."""
LOOK_AGAIN_S = 0.25  # memory that others give back is not announced
T = TypeVar("T")


class Admission:
    """Counts the kernels of one pool and keeps its queue."""

    def __init__(self, max_kernels: int | None, reserve_mib: int, timeout_s: float) -> None:
        self._max_kernels, self._reserve_mib, self._timeout_s = max_kernels, reserve_mib, timeout_s
        self.kernels = 0
        """Kernels alive or being started."""
        self.waiting = 0
        """Callers in the queue."""
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def enter(self, spare: Callable[[], T | None]) -> T | None:
        """Waits in the queue for room (None; the kernel counts from now on) or for what ``spare`` has to give up.

        Raises :class:`SandboxError` after the time-out.
        """
        if self.try_enter():
            return None
        self.waiting += 1
        try:
            return await asyncio.wait_for(self._wait(spare), self._timeout_s)
        except TimeoutError:
            why = self._obstacle() or "others were served first"
            raise SandboxError(f"no kernel within {self._timeout_s:g} s: {why}") from None
        finally:
            self.waiting -= 1

    def try_enter(self) -> bool:
        """Lets a kernel in if there is room and nobody waits for it."""
        if self.waiting or self._obstacle() is not None:
            return False
        self.kernels += 1
        return True

    def leave(self) -> None:
        """A kernel has ended."""
        self.kernels -= 1
        self.announce()

    def announce(self) -> None:
        """Something changed: the first in the queue looks again."""
        self._changed.set()

    def lacks_memory(self) -> bool:
        """Whether even the reserve is touched."""
        return free_memory.free_mib() < self._reserve_mib

    async def _wait(self, spare: Callable[[], T | None]) -> T | None:
        async with self._turn:  # a lock wakes its waiters in the order they came
            while True:
                if self._obstacle() is None:
                    self.kernels += 1
                    return None
                if (found := spare()) is not None:
                    return found
                self._changed.clear()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), LOOK_AGAIN_S)

    def _obstacle(self) -> str | None:
        """What stands in the way of one more."""
        if self._max_kernels is not None and self.kernels >= self._max_kernels:
            return f"all {self._max_kernels} kernels (max_kernels) are in use"
        free, needed = free_memory.free_mib(), self._reserve_mib + KERNEL_MIB
        if free < needed:
            return f"{free} MiB of memory are free, {needed} needed (reserve_mib is {self._reserve_mib})"
        return None
