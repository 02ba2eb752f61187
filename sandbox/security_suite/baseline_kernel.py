"""Baseline of the scorecard: stock jupyter_client and ipykernel, without isolation.

Contract: the parts of a pool's and a kernel's interface that the suite uses. Kernels are ordinary child processes, each
in its own folder, with all rights of this process; run only harmless cases in them.
"""

from __future__ import annotations

import asyncio
import queue
import subprocess
import time
from contextlib import ExitStack
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from sandbox.host.plain import plain
from sandbox.isolation.owned_folders import temporary_folder
from sandbox.limits import Limits
from sandbox.result import CellResult, Status

START_TIMEOUT_S = 60.0


class BaselinePool:
    """Starts a stock kernel at each :meth:`acquire`."""

    tier = "none"

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def acquire(self) -> BaselineKernel:
        """A new kernel that has answered once."""
        kernel = BaselineKernel(self._limits)
        await kernel.start()
        return kernel

    async def __aenter__(self) -> BaselinePool:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class BaselineKernel:
    """One stock kernel behind jupyter_client's async manager."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(temporary_folder("baseline"))
        self._manager = AsyncKernelManager(kernel_name="python3")

    async def start(self) -> None:
        """Starts it and waits for its first answer."""
        quiet = subprocess.DEVNULL
        await self._manager.start_kernel(cwd=self._folder, stdout=quiet, stderr=quiet)
        self._client = self._manager.client()
        self._client.start_channels()
        await self._client.wait_for_ready(timeout=START_TIMEOUT_S)

    async def run(self, code: str, timeout_s: float) -> CellResult:
        """Runs a cell; interrupts it at its time limit, kills it after the grace period."""
        if not await self._manager.is_alive():
            return CellResult(status="died", state_survived=False)
        started, seen = time.monotonic(), _Output(self._limits.output_chars)
        sent = self._client.execute(code, allow_stdin=False)
        status: Status = "ok"
        if not await self._gather(sent, seen, timeout_s):
            status = "timeout_interrupted"
            await self._manager.interrupt_kernel()
            if not await self._gather(sent, seen, self._limits.interrupt_grace_s):
                alive = await self._manager.is_alive()
                status = "timeout_killed" if alive else "died"
                await self._manager.shutdown_kernel(now=True)
        elif seen.error is not None:
            status = "error"
        return seen.result(status, time.monotonic() - started)

    async def _gather(self, sent: str, seen: _Output, timeout_s: float) -> bool:
        """Reads messages until the cell ends; False if it has not ended in time."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0 and await self._manager.is_alive():
            try:
                message = await self._client.get_iopub_msg(timeout=min(left, 0.5))
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") == sent and seen.take(message["msg_type"], message["content"]):
                return True
        return False

    async def close(self) -> None:
        """Ends it."""
        self._client.stop_channels()
        if await self._manager.is_alive():
            await self._manager.shutdown_kernel(now=True)
        await asyncio.to_thread(self._stack.close)

    async def __aenter__(self) -> BaselineKernel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Output:
    """Collects the output of a cell."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._text = {"stdout": "", "stderr": ""}
        self._value: str | None = None
        self.error: tuple[str, str] | None = None

    def take(self, kind: str, content: dict[str, Any]) -> bool:
        """One message; True when it is the cell's last."""
        if kind == "stream":
            self._text[content["name"]] += content["text"][: 1 << 20]
        elif kind == "execute_result":
            self._value = plain(content["data"].get("text/plain"), self._keep)
        elif kind == "error":
            self.error = (plain(content["ename"], 200), plain(content["evalue"], 200))
        return kind == "status" and content["execution_state"] == "idle"

    def result(self, status: Status, seconds: float) -> CellResult:
        """The result in the form of our own kernels."""
        name, value = self.error or (None, None)
        return CellResult(
            status=status,
            stdout=plain(self._text["stdout"], self._keep),
            stderr=plain(self._text["stderr"], self._keep),
            value=self._value,
            error_name=name,
            error_value=value,
            seconds=seconds,
            state_survived=status not in ("died", "timeout_killed"),
        )
