"""The bench: every figure of ours and, where there is one, the rival's, in turns.

Contract: medians. A start lasts until the reply to a first cell. It is judged with numpy and pandas loaded on both
sides: the cell imports them, which for the rival is the import and for ours nothing, as its kernels are forked with
both. Beside it stand, not judged, the bare start, where the cell is ``1 + 1`` and the rival has nothing imported, and
what of a start is Linux's own (:mod:`sandbox.bench.lower_bound`). Memory is private memory (Private_Dirty) of an idle
kernel that has both. Round trips are measured in blocks that take turns: the rival's threads are still at work when it
has answered, and the next cell is not theirs to delay. Everything runs with one thread a library, as ours always do.
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

from sandbox.bench.baseline_kernel import StockKernel, first_reply_ms
from sandbox.bench.figures import Figure
from sandbox.bench.http import over_http
from sandbox.bench.lower_bound import floor_ms
from sandbox.isolation.probe import Tier
from sandbox.jupyter.provisioner import install_kernelspec
from sandbox.pool import KernelPool

LOADED = "import numpy, pandas"
BARE = "1 + 1"
CELL = "x = 1 + 1"
SPEC = "codeact-bench"
STATE = "import numpy; a = numpy.ones(10_000_000); b = list(range(500_000))"
BLOCK = 25
"""Cells of one side before it is the other's turn."""
median = statistics.median


class Effort(BaseModel):
    """How much is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    starts: int = 45
    """Starts of each kind; of the rival's, a hundred times as long, one in nine."""
    cells: int = 300
    """Round trips."""
    kernels: int = 64
    """Kernels at once, ours and the rival's."""
    cells_each: int = 40
    """Cells each of them runs."""


async def measure(tiers: list[Tier], effort: Effort, on_figure: Callable[[Figure], None]) -> list[Figure]:
    """All figures; starts for each of ``tiers``, the rest for the first."""
    figures: list[Figure] = []

    def add(name: str, ours: float, rival: float | None = None, **targets: float) -> None:
        figures.append(Figure(name=name, ours=ours, rival=rival, **targets))
        on_figure(figures[-1])

    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    loaded = {}
    for tier in tiers:
        loaded[tier] = await _starts(tier, effort, LOADED)
        add(f"start, numpy and pandas loaded, {tier}, ms", *loaded[tier].ms, at_most=15, ratio_at_least=40)
        add(f"start, stock with nothing imported, {tier}, ms", *(await _starts(tier, effort, BARE)).ms)
    tier = tiers[0]
    floor = await asyncio.to_thread(floor_ms, loaded[tier].private_mb[0], effort.starts)
    add("of a start, Linux alone: fork and pages copied, ms", floor)
    add("private memory of an idle kernel, MB", *loaded[tier].private_mb, at_most=7)
    add("start to first reply, stock KernelManager, ms", await _managed(tier, effort), rival=None, at_most=30)
    add("warm pool: acquire and first cell, ms", await _warm(tier, effort), at_most=2)
    async with KernelPool(size=0, tier=tier) as pool:
        plain, stock_plain = await _round_trips(pool, effort)
        add("cell round trip, ms", plain, stock_plain, at_most=1, ratio_at_least=5)
        add("fork of 100 MB to the branch's first reply, ms", await _forks(pool), at_most=15)
        rate = await _rate(pool, effort)
    stock = await asyncio.to_thread(_stock_rate, effort)
    add(f"cells per second, {effort.kernels} kernels", rate, stock, at_least=1300, ratio_at_least=4)
    add("cell round trip over HTTP, ms", await over_http(tier, CELL, effort.cells))
    async with KernelPool(size=0, tier=tier, checkpoint=True) as pool:
        kept, _ = await _round_trips(pool, effort, beside_rival=False)
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


async def _first_reply(pool: KernelPool, code: str = BARE) -> tuple[float, float]:
    """Milliseconds to the first reply, and the kernel's private MB then."""
    started = time.perf_counter()
    async with await pool.acquire() as kernel:
        await kernel.run(code)
        took = (time.perf_counter() - started) * 1e3
        assert kernel.process is not None
        return took, private_mb(kernel.process.pid())


class _Starts(NamedTuple):
    """Medians, ours and the rival's."""

    ms: tuple[float, float]
    private_mb: tuple[float, float]


async def _starts(tier: Tier, effort: Effort, code: str) -> _Starts:
    """From the start of a kernel to its reply to a first cell, in turns; of the rival's one in nine."""
    ours, theirs = [], []
    async with KernelPool(size=0, tier=tier) as pool:
        await _first_reply(pool, code)
        for index in range(effort.starts):
            ours.append(await _first_reply(pool, code))
            if index % 9 == 0:
                theirs.append(await asyncio.to_thread(_stock_first_reply, code))
    (our_ms, our_mb), (rival_ms, rival_mb) = (map(median, zip(*rows, strict=True)) for rows in (ours, theirs))
    return _Starts((our_ms, rival_ms), (our_mb, rival_mb))


def _stock_first_reply(code: str) -> tuple[float, float]:
    started = time.perf_counter()
    kernel = StockKernel()
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
            install_kernelspec(Path(folder), SPEC, tier=tier)
            took = [await asyncio.to_thread(first_reply_ms, SPEC) for _ in range(effort.starts + 1)]
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


async def _round_trips(pool: KernelPool, effort: Effort, beside_rival: bool = True) -> tuple[float, float | None]:
    ours, theirs = [], []
    rival = await asyncio.to_thread(StockKernel) if beside_rival else None
    async with await pool.acquire() as kernel:
        for begun in range(0, effort.cells, BLOCK):
            block = range(begun, min(begun + BLOCK, effort.cells))
            await kernel.run(CELL)
            ours += [await _ms(lambda: kernel.run(CELL)) for _ in block]
            if rival is not None:
                rival.run(CELL)
                theirs += [_blocking_ms(lambda: rival.run(CELL)) for _ in block]
    if rival is not None:
        rival.close()
    return median(ours), median(theirs) if theirs else None


async def _forks(pool: KernelPool) -> float:
    took = []
    async with await pool.acquire() as kernel:
        await kernel.run(STATE)
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


def _stock_rate(effort: Effort) -> float:
    def work(kernel: StockKernel) -> None:
        for _ in range(effort.cells_each):
            kernel.run(CELL)

    with ThreadPoolExecutor(4) as few:
        held = list(few.map(lambda _: StockKernel(), range(effort.kernels)))
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
