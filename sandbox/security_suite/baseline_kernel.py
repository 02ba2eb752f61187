"""Stock jupyter_client and ipykernel, as they come: the rival on the scorecard, and what no isolation lets through.

Contract: the surface the judge needs of a pool and of a kernel. Kernels are ordinary child processes of this one, in a
folder of their own, with everything this process may do; only harmless cases may be given to them.
"""

from __future__ import annotations

import asyncio
import queue
import subprocess
import tempfile
import time
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from sandbox.host.connection import plain
from sandbox.limits import Limits
from sandbox.result import CellResult, Status

START_TIMEOUT_S = 60.0


class StockPool:
    """Starts a kernel whenever one is asked for."""

    tier = "none"

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def acquire(self) -> StockKernel:
        """A new kernel that answers."""
        kernel = StockKernel(self._limits)
        await kernel.start()
        return kernel

    async def __aenter__(self) -> StockPool:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class StockKernel:
    """One stock kernel, used as most programs use it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folder = tempfile.TemporaryDirectory(prefix="codeact-stock-")
        self._manager = AsyncKernelManager(kernel_name="python3")

    async def start(self) -> None:
        """Starts it and waits for its first answer."""
        quiet = subprocess.DEVNULL
        await self._manager.start_kernel(cwd=self._folder.name, stdout=quiet, stderr=quiet)
        self._client = self._manager.client()
        self._client.start_channels()
        await self._client.wait_for_ready(timeout=START_TIMEOUT_S)

    async def run(self, code: str, timeout_s: float) -> CellResult:
        """Runs a cell; interrupts it at its time, kills it after the grace."""
        if not await self._manager.is_alive():
            return CellResult(status="died", state_survived=False)
        started, seen = time.monotonic(), _Seen(self._limits.output_chars)
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

    async def _gather(self, sent: str, seen: _Seen, timeout_s: float) -> bool:
        """Reads until the cell is over; False when it is not by then."""
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
        await asyncio.to_thread(self._folder.cleanup)

    async def __aenter__(self) -> StockKernel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Seen:
    """What a cell has shown."""

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
        """As one of our kernels would give it."""
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
