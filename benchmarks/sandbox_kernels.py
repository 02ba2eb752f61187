"""Our kernels against stock jupyter_client + ipykernel, in one run on one machine.

Usage: python benchmarks/sandbox_kernels.py [--tier T2] [--starts 15] [--cells 300] [--kernels 64] [--json]

Rounds of ours and the rival's alternate, so a busy machine harms both alike; figures are medians, and the ratios are
what counts. "Loaded" means that numpy and pandas are imported: ours inherit them, the rival imports them in its first
cell. Memory is private memory (Private_Dirty) of an idle kernel after that. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager, start_new_kernel

from sandbox import KernelPool, probe
from sandbox.provisioner import install_kernelspec

IMPORTS = "import numpy, pandas"
# figure: (the least ratio, the most of ours), None where nothing is asked
TARGETS = {
    "start to first reply, ms": (40.0, 15.0),
    "start to first reply through a stock KernelManager, ms": (None, 30.0),
    "warm pool: acquire and first cell, ms": (None, 2.0),
    "cell round trip, ms": (5.0, 1.0),
    "cells per second": (4.0, None),
    "fork with 100 MB to the branch's first reply, ms": (None, 15.0),
    "private memory of an idle kernel, MiB": (None, 7.0),
}


def private_mib(pid: int) -> float:
    """Private_Dirty of a process."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_Dirty")) / 1024


class Rival:
    """One stock kernel with a stock blocking client."""

    def __init__(self, name: str = "python3") -> None:
        self.manager, self.client = start_new_kernel(kernel_name=name, startup_timeout=120, stderr=subprocess.DEVNULL)

    def run(self, code: str) -> None:
        """Runs a cell and waits for its reply and for idle."""
        sent = self.client.execute(code)
        while self.client.get_shell_msg(timeout=120)["parent_header"].get("msg_id") != sent:
            pass
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            mine = message["parent_header"].get("msg_id") == sent
            if mine and message["content"].get("execution_state") == "idle":
                return

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1e3


async def our_start(pool: KernelPool) -> tuple[float, float]:
    """Start to first reply, and the memory of the kernel."""
    started = time.perf_counter()
    kernel = await pool.acquire()
    await kernel.run("1 + 1")
    took = (time.perf_counter() - started) * 1e3
    await kernel.run(IMPORTS)
    assert kernel.process is not None
    memory = private_mib(kernel.process.pid())
    await kernel.close()
    return took, memory


def rival_start() -> tuple[float, float]:
    started = time.perf_counter()
    rival = Rival()
    rival.run(IMPORTS)
    took = (time.perf_counter() - started) * 1e3
    memory = private_mib(rival.manager.provisioner.pid)
    rival.close()
    return took, memory


def managed_start() -> float:
    """Our kernel through a stock KernelManager; the client's heartbeat and ready checks included."""
    started = time.perf_counter()
    manager = KernelManager(kernel_name="codeact-bench")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.get_iopub_msg(timeout=60)  # the welcome: we are heard
    client.execute("1 + 1")
    client.get_shell_msg(timeout=60)
    took = (time.perf_counter() - started) * 1e3
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return took


async def our_fork(pool: KernelPool) -> list[float]:
    """Fork of a kernel that holds 100 MB in an array and a list, to the branch's first reply."""
    took = []
    async with await pool.acquire() as kernel:
        await kernel.run("import numpy; a = numpy.ones(10_000_000); b = list(range(500_000))")
        for _ in range(10):
            started = time.perf_counter()
            branch = await kernel.fork()
            await branch.run("len(b)")
            took.append((time.perf_counter() - started) * 1e3)
            await branch.close()
    return took


async def cells(pool: KernelPool, count: int) -> tuple[list[float], list[float]]:
    """Round trips of a trivial cell, ours and the rival's, in turns."""
    ours, theirs, rival = [], [], Rival()
    async with await pool.acquire() as kernel:
        for _ in range(count):
            ours.append(await timed(lambda: kernel.run("x = 1 + 1")))
            started = time.perf_counter()
            rival.run("x = 1 + 1")
            theirs.append((time.perf_counter() - started) * 1e3)
    rival.close()
    return ours[5:], theirs[5:]


async def our_rate(pool: KernelPool, kernels: int, each: int) -> float:
    """Cells per second of many kernels together."""
    held = [await pool.acquire() for _ in range(kernels)]

    async def work(kernel: Any) -> None:
        for _ in range(each):
            await kernel.run("x = 1 + 1")

    await asyncio.gather(*(kernel.run("1") for kernel in held))
    took = await timed(lambda: asyncio.gather(*(work(kernel) for kernel in held)))
    await asyncio.gather(*(kernel.close() for kernel in held))
    return kernels * each / took * 1e3


async def rival_rate(kernels: int, each: int) -> float:
    held = [await asyncio.to_thread(Rival) for _ in range(kernels)]

    def work(rival: Rival) -> None:
        for _ in range(each):
            rival.run("x = 1 + 1")

    took = await timed(lambda: asyncio.gather(*(asyncio.to_thread(work, rival) for rival in held)))
    for rival in held:
        rival.close()
    return kernels * each / took * 1e3


async def measure(chosen: argparse.Namespace) -> dict[str, tuple[float, float | None]]:
    """Figure to (ours, the rival's)."""
    starts: list[tuple[float, float]] = []
    rivals: list[tuple[float, float]] = []
    async with KernelPool(size=0, tier=chosen.tier) as cold, KernelPool(size=1, tier=chosen.tier) as warm:
        warms = []
        for index in range(chosen.starts):
            starts.append(await our_start(cold))
            if index % 3 == 0:
                rivals.append(rival_start())
            await asyncio.sleep(0.1)
            started = time.perf_counter()
            kernel = await warm.acquire()
            await kernel.run("1 + 1")
            warms.append((time.perf_counter() - started) * 1e3)
            await kernel.close()
        ours, theirs = await cells(cold, chosen.cells)
        forks = await our_fork(cold)
        rate = await our_rate(cold, chosen.kernels, 40)
    rival = await rival_rate(chosen.rival_kernels, 40)
    managed = [await asyncio.to_thread(managed_start) for _ in range(chosen.starts + 1)][1:]
    median = statistics.median
    rival_ms, rival_mib = (median(values) for values in zip(*rivals, strict=True))
    return {
        "start to first reply, ms": (median(took for took, _ in starts), rival_ms),
        "start to first reply through a stock KernelManager, ms": (median(managed), rival_ms),
        "warm pool: acquire and first cell, ms": (median(warms), None),
        "cell round trip, ms": (median(ours), median(theirs)),
        "fork with 100 MB to the branch's first reply, ms": (median(forks), None),
        "cells per second": (rate, rival),
        "private memory of an idle kernel, MiB": (median(mib for _, mib in starts), rival_mib),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", choices=("T3", "T2", "T1"), default=probe().tier)
    for name, default in (("starts", 15), ("cells", 300), ("kernels", 64), ("rival-kernels", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = "1"  # ours always run so
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JUPYTER_PATH"] = folder
        install_kernelspec(Path(folder), "codeact-bench", tier=chosen.tier)
        figures = asyncio.run(measure(chosen))
    missed = []
    for name, (ours, theirs) in figures.items():
        ratio = None if theirs is None else max(theirs / ours, ours / theirs)
        least, most = TARGETS[name]
        if (least and (ratio or 0) < least) or (most and ours > most):
            missed.append(name)
        if not chosen.json:
            beside = "" if theirs is None else f"  rival {theirs:9.1f}  ratio {ratio:6.1f}"
            print(f"{name:58} {ours:9.2f}{beside}{'  MISSED' if name in missed else ''}", flush=True)
    if chosen.json:
        print(json.dumps({"tier": chosen.tier, "figures": figures, "missed": missed}, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
