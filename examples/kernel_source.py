"""A kernel source: where the kernels of episodes come from. This one runs each cell in a new Python process."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rollout import KERNEL_SOURCES, EpisodeProtocol, WorkerConfig
from sandbox import CellResult


class ProcessKernel:
    """Keeps no variables between cells, offers no tools and isolates nothing: for trusted code only."""

    async def run(self, code: str, timeout_s: float | None = None) -> CellResult:
        """Never raises for what the cell does; SandboxError is for failures of the sandbox."""
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe)
        try:
            stdout, stderr = await asyncio.wait_for(child.communicate(), timeout_s)
        except TimeoutError:
            child.kill()
            return CellResult(status="timeout_killed", state_survived=False)
        status = "ok" if child.returncode == 0 else "error"
        return CellResult(status=status, stdout=stdout.decode(), stderr=stderr.decode())

    async def close(self) -> None:
        """Nothing to end."""


class ProcessSource:
    """One for each worker."""

    tier = "none"  # stored with every trajectory

    async def acquire(self, tools: Mapping[str, Callable[..., Any]]) -> ProcessKernel:
        """A kernel for one episode."""
        return ProcessKernel()

    async def close(self) -> None:
        """Nothing to end."""


async def open_processes(config: WorkerConfig, protocol: EpisodeProtocol, token: str | None) -> ProcessSource:
    """Settings are in ``config.kernel_options``, the limits of a cell in ``protocol``."""
    return ProcessSource()


async def main() -> None:
    KERNEL_SOURCES.add("processes", open_processes)  # a package registers it as an entry point instead
    source = await open_processes(WorkerConfig(kernel_source="processes"), EpisodeProtocol(), None)
    kernel = await source.acquire(tools={})
    print((await kernel.run("print(6 * 7)", timeout_s=10)).stdout.strip())  # → 42


if __name__ == "__main__":
    asyncio.run(main())
