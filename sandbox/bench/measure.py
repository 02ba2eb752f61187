"""The benchmark: our kernels and the baseline, measured in turns.

Contract: figures are medians. A start lasts until the reply to a first cell. The figure with a target has numpy and
pandas loaded on both sides: the cell imports them, which the baseline has to do and our kernels, forked with both, do
not. Two more figures have no target: the bare start, where the cell is ``1 + 1`` and the baseline has nothing imported,
and the lower bound that Linux sets (:mod:`sandbox.bench.lower_bound`). Memory is private memory (Private_Dirty) of an
idle kernel with both modules. Round trips are measured in alternating blocks, because the baseline's threads still work
after it has answered and would delay our next cell. Libraries use one thread on both sides, as our kernels always do.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from sandbox.bench.baseline_kernel import BaselineKernel, first_reply_ms
from sandbox.bench.figures import Figure
from sandbox.bench.http import http_round_trip_ms
from sandbox.bench.lower_bound import lower_bound_ms
from sandbox.isolation.probe import Tier
from sandbox.jupyter.provisioner import install_kernelspec
from sandbox.pool import KernelPool

PRELOADED_CELL = "import numpy, pandas"
BARE_CELL = "1 + 1"
CELL = "x = 1 + 1"
KERNEL_SPEC = "codeact-bench"
STATE_CELL = "import numpy; a = numpy.ones(10_000_000); b = list(range(500_000))"
BLOCK = 25
"""Cells of one side in a row."""
median = statistics.median


class Effort(BaseModel):
    """Numbers of starts, cells and kernels to measure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    starts: int = 45
    """Starts of each kind; a ninth as many of the baseline's, which take a hundred times as long."""
    cells: int = 300
    """Round trips."""
    kernels: int = 64
    """Kernels at once, ours and the baseline's."""
    cells_each: int = 40
    """Cells that each of these kernels runs."""


async def measure(tiers: list[Tier], effort: Effort, on_figure: Callable[[Figure], None]) -> list[Figure]:
    """All figures; starts for each of ``tiers``, the rest for the first."""
    figures: list[Figure] = []

    def add(name: str, ours: float, baseline: float | None = None, **targets: float) -> None:
        figures.append(Figure(name=name, ours=ours, baseline=baseline, **targets))
        on_figure(figures[-1])

    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    loaded = {}
    for tier in tiers:
        loaded[tier] = await _starts(tier, effort, PRELOADED_CELL)
        add(f"start, numpy and pandas loaded, {tier}, ms", *loaded[tier].ms, at_most=15, ratio_at_least=40)
        add(f"start, stock with nothing imported, {tier}, ms", *(await _starts(tier, effort, BARE_CELL)).ms)
    tier = tiers[0]
    lower_bound = await asyncio.to_thread(lower_bound_ms, loaded[tier].private_mb[0], effort.starts)
    add("of a start, Linux alone: fork and pages copied, ms", lower_bound)
    add("private memory of an idle kernel, MB", *loaded[tier].private_mb, at_most=7)
    add("start to first reply, stock KernelManager, ms", await _managed(tier, effort), baseline=None, at_most=30)
    add("warm pool: acquire and first cell, ms", await _warm(tier, effort), at_most=2)
    async with KernelPool(size=0, tier=tier) as pool:
        plain, stock_plain = await _round_trips(pool, effort)
        add("cell round trip, ms", plain, stock_plain, at_most=1, ratio_at_least=5)
        add("fork of 100 MB to the branch's first reply, ms", await _forks(pool), at_most=15)
        rate = await _rate(pool, effort)
    stock = await asyncio.to_thread(_baseline_rate, effort)
    add(f"cells per second, {effort.kernels} kernels", rate, stock, at_least=1300, ratio_at_least=4)
    add("cell round trip over HTTP, ms", await http_round_trip_ms(tier, CELL, effort.cells))
    async with KernelPool(size=0, tier=tier, checkpoint=True) as pool:
        kept, _ = await _round_trips(pool, effort, with_baseline=False)
        add("checkpoint before a cell, ms more", kept - plain, at_most=10)
    return figures


async def _ms(work: Callable[[], Awaitable[Any]]) -> float:
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1e3


def _blocking_ms(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


async def _first_reply(pool: KernelPool, code: str = BARE_CELL) -> tuple[float, float]:
    """Milliseconds to the first reply, and the kernel's private MB then."""
    started = time.perf_counter()
    async with await pool.acquire() as kernel:
        await kernel.run(code)
        took = (time.perf_counter() - started) * 1e3
        assert kernel.process is not None
        return took, private_mb(kernel.process.pid())


class _Starts(NamedTuple):
    """Medians, ours and the baseline's."""

    ms: tuple[float, float]
    private_mb: tuple[float, float]


async def _starts(tier: Tier, effort: Effort, code: str) -> _Starts:
    """Times from the start of a kernel to its reply to a first cell; every ninth time also the baseline's."""
    ours, baselines = [], []
    async with KernelPool(size=0, tier=tier) as pool:
        await _first_reply(pool, code)
        for index in range(effort.starts):
            ours.append(await _first_reply(pool, code))
            if index % 9 == 0:
                baselines.append(await asyncio.to_thread(_baseline_first_reply, code))
    (our_ms, our_mb), (rival_ms, rival_mb) = (map(median, zip(*rows, strict=True)) for rows in (ours, baselines))
    return _Starts((our_ms, rival_ms), (our_mb, rival_mb))


def _baseline_first_reply(code: str) -> tuple[float, float]:
    started = time.perf_counter()
    kernel = BaselineKernel()
    kernel.run(code)
    took = (time.perf_counter() - started) * 1e3
    mb = private_mb(kernel.pid)
    kernel.close()
    return took, mb


async def _managed(tier: Tier, effort: Effort) -> float:
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = folder
        try:
            install_kernelspec(Path(folder), KERNEL_SPEC, tier=tier)
            took = [await asyncio.to_thread(first_reply_ms, KERNEL_SPEC) for _ in range(effort.starts + 1)]
        finally:
            if before is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = before
    return median(took[1:])  # the first starts the fork server


async def _warm(tier: Tier, effort: Effort) -> float:
    took = []
    async with KernelPool(size=1, tier=tier) as pool:
        for _ in range(effort.starts):
            while not pool.ready:
                await asyncio.sleep(0.01)
            took.append((await _first_reply(pool))[0])
    return median(took)


async def _round_trips(pool: KernelPool, effort: Effort, with_baseline: bool = True) -> tuple[float, float | None]:
    ours, baselines = [], []
    baseline = await asyncio.to_thread(BaselineKernel) if with_baseline else None
    async with await pool.acquire() as kernel:
        for begun in range(0, effort.cells, BLOCK):
            block = range(begun, min(begun + BLOCK, effort.cells))
            await kernel.run(CELL)
            ours += [await _ms(lambda: kernel.run(CELL)) for _ in block]
            if baseline is not None:
                baseline.run(CELL)
                baselines += [_blocking_ms(lambda: baseline.run(CELL)) for _ in block]
    if baseline is not None:
        baseline.close()
    return median(ours), median(baselines) if baselines else None


async def _forks(pool: KernelPool) -> float:
    took = []
    async with await pool.acquire() as kernel:
        await kernel.run(STATE_CELL)
        for _ in range(10):
            started = time.perf_counter()
            async with await kernel.fork() as branch:
                await branch.run("len(b)")
                took.append((time.perf_counter() - started) * 1e3)
    return median(took)


async def _rate(pool: KernelPool, effort: Effort) -> float:
    held = await asyncio.gather(*(pool.acquire() for _ in range(effort.kernels)))

    async def work(kernel: Any, cells: int) -> None:
        for _ in range(cells):
            await kernel.run(CELL)

    await asyncio.gather(*(work(kernel, 1) for kernel in held))
    took = await _ms(lambda: asyncio.gather(*(work(kernel, effort.cells_each) for kernel in held)))
    await asyncio.gather(*(kernel.close() for kernel in held))
    return effort.kernels * effort.cells_each / took * 1e3


def _baseline_rate(effort: Effort) -> float:
    def work(kernel: BaselineKernel) -> None:
        for _ in range(effort.cells_each):
            kernel.run(CELL)

    with ThreadPoolExecutor(4) as few:
        held = list(few.map(lambda _: BaselineKernel(), range(effort.kernels)))
    with ThreadPoolExecutor(effort.kernels) as all_at_once:
        list(all_at_once.map(lambda kernel: kernel.run(CELL), held))
        started = time.perf_counter()
        list(all_at_once.map(work, held))
        took = time.perf_counter() - started
    for kernel in held:
        kernel.close()
    return effort.kernels * effort.cells_each / took


def private_mb(pid: int) -> float:
    """Private_Dirty of a process, in MB (10⁶ bytes)."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) for row in rows if row.startswith("Private_Dirty")) * 1024 / 1e6
