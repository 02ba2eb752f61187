"""Grading a state: a task's check, run in a fresh kernel on what the model's kernel hands over.

Contract: the model's kernel gives bytes, such as a database file, and nothing else; code that the model has never
touched reads them in a kernel of its own and prints what is graded. So a cell that replaces ``print``, ``json`` or the
connection's row factory changes no verdict, on purpose or by accident. The check of a task without a
:class:`rollout.families.Snapshot` runs in the model's kernel. Cost: one more kernel a verdict.
"""

from __future__ import annotations

from typing import Any

from rollout.families.base import Task
from rollout.kernel_source import EpisodeKernel, KernelSource

HAND_OVER = "_hand_over"
"""Function in the model's kernel that takes the state, in parts."""
PART_BYTES = 1 << 18
MOST_BYTES = 1 << 25
"""A larger state is not graded as right."""


class StateCheck:
    """The check of one episode's state."""

    def __init__(self, task: Task, kernels: KernelSource, timeout_s: float) -> None:
        self._task, self._kernels, self._timeout_s = task, kernels, timeout_s
        self._parts: list[str] = []
        self._open = False

    def tools(self) -> dict[str, Any]:
        """What the model's kernel can call beside the tools of the task."""
        return {HAND_OVER: self._take} if self._task.snapshot else {}

    async def read(self, kernel: EpisodeKernel) -> str:
        """What the task's check prints about the state of the model's kernel; nothing when it fails.

        Raises:
            SandboxError: there is no kernel.
        """
        snapshot = self._task.snapshot
        if snapshot is None:
            return await self._printed(kernel)
        state = await self._handed_over(kernel, snapshot.take)
        if state is None:
            return ""
        fresh = await self._kernels.acquire(tools={})
        try:
            for start in range(0, len(state), 2 * PART_BYTES):
                part = state[start : start + 2 * PART_BYTES]
                await fresh.run(f"snapshot = {'snapshot + ' if start else ''}bytes.fromhex({part!r})", self._timeout_s)
            restored = await fresh.run(snapshot.restore, timeout_s=self._timeout_s)
            return await self._printed(fresh) if restored.status == "ok" else ""
        finally:
            await fresh.close()

    async def _handed_over(self, kernel: EpisodeKernel, take: str) -> str | None:
        """The state in hexadecimal digits; None when the model's kernel does not give it."""
        self._parts, self._open = [], True
        each = f"range(0, len(_state), {PART_BYTES})"
        parts = f"for _at in {each}:\n    {HAND_OVER}(_state[_at : _at + {PART_BYTES}].hex())"
        try:
            result = await kernel.run(f"_state = {take}\n{parts}\ndel _state", timeout_s=self._timeout_s)
        finally:
            self._open = False
        state = "".join(self._parts)
        if result.status != "ok" or not state or len(state) > 2 * MOST_BYTES:
            return None
        try:
            bytes.fromhex(state)
        except ValueError:
            return None
        return state

    async def _printed(self, kernel: EpisodeKernel) -> str:
        result = await kernel.run(self._task.check, timeout_s=self._timeout_s)
        return result.stdout.strip() if result.status == "ok" else ""

    async def _take(self, part: str) -> None:
        """Takes a part of the state, in hexadecimal digits."""
        if self._open and sum(map(len, self._parts)) <= 2 * MOST_BYTES:
            self._parts.append(part)
