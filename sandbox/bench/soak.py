"""Soak test: thousands of kernels at once, and thousands of starts and stops.

Contract: two parts, each a list of figures. ``at_once``: many kernels hold a value at the same time and all answer; the
machine must have the memory. It runs twice, and the second run must leave nothing more than the first, because memory
that an allocator keeps after the first peak is no leak. ``cycles``: many kernels are started, used and ended, a few at
a time; at the end no resource count may be higher than after the first twentieth. See also :mod:`sandbox.bench.kills`.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from sandbox.bench import footprint
from sandbox.bench.figures import Figure
from sandbox.bench.footprint import Footprint
from sandbox.isolation.probe import Tier
from sandbox.kernel import Kernel
from sandbox.pool import KernelPool
from sandbox.result import SandboxError

AT_ONCE = 8
GROWTH_MB = 16.0  # allocators keep some; a leak of one page a cycle would be 40
DESCRIPTORS_EACH = 6


class Growth(BaseModel):
    """One row of the growth table: the footprint after a number of cycles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cycles: int
    footprint: Footprint


@dataclass(frozen=True)
class Wave:
    """One run of kernels at once: how many were started and answered, their cost, and the footprint afterwards."""

    held: int
    answered: int
    refused: str
    seconds: float
    mb: float
    after: Footprint


async def at_once(tier: Tier, kernels: int, on_figure: Callable[[Figure], None]) -> list[Figure]:
    """Runs many kernels at once: what each costs, and what is left when all have ended."""
    _allow_descriptors(kernels * DESCRIPTORS_EACH)
    async with KernelPool(size=0, tier=tier, acquire_timeout_s=5.0) as pool:
        await _use(pool, 0)
        first = await _wave(pool, kernels)
        second = await _wave(pool, kernels)
    answered = min(first.answered, second.answered)
    figures = [
        Figure(
            name=f"kernels alive at once that answer, {tier}",
            ours=answered,
            at_least=kernels,
            note=first.refused or second.refused,
        ),
        Figure(name="memory of the machine per kernel, MB", ours=first.mb / max(1, first.held)),
        Figure(name="kernels started per second", ours=second.held / second.seconds),
        *_growth_figures("after a second such wave", first.after, second.after),
    ]
    for figure in figures:
        on_figure(figure)
    return figures


async def _wave(pool: KernelPool, kernels: int) -> Wave:
    held: list[Kernel] = []
    answered, refused = 0, ""
    before, free_before = footprint.measure_footprint(), _available_mb()
    started = time.perf_counter()
    try:
        while len(held) < kernels:
            some = range(len(held), min(kernels, len(held) + AT_ONCE))
            held += await asyncio.gather(*(_holding(pool, number) for number in some))
    except SandboxError as error:
        refused = str(error)
    took, mb = time.perf_counter() - started, free_before - _available_mb()
    for start in range(0, len(held), AT_ONCE):
        some = range(start, min(len(held), start + AT_ONCE))
        results = await asyncio.gather(*(held[number].run("x") for number in some))
        answered += sum(result.value == str(number) for number, result in zip(some, results, strict=True))
    await asyncio.gather(*(kernel.close() for kernel in held))
    return Wave(len(held), answered, refused, took, mb, await _footprint_at_rest(before))


async def cycles(
    tier: Tier, count: int, on_figure: Callable[[Figure], None], on_growth: Callable[[Growth], None]
) -> tuple[list[Figure], list[Growth]]:
    """Starts, uses and ends ``count`` kernels; measures the footprint after every twentieth."""
    table: list[Growth] = []
    started = time.perf_counter()
    async with KernelPool(size=0, tier=tier) as pool:
        await _use(pool, 0)
        base = footprint.measure_footprint()
        done, step = 0, max(AT_ONCE, count // 20)
        while done < count:
            until = min(count, done + step)
            while done < until:
                some = range(done, min(until, done + AT_ONCE))
                await asyncio.gather(*(_use(pool, number) for number in some))
                done = some.stop
            table.append(Growth(cycles=done, footprint=await _footprint_at_rest(base)))
            on_growth(table[-1])
    took = time.perf_counter() - started
    figures = [
        Figure(name=f"kernels started, used and ended, {tier}", ours=done, at_least=count),
        Figure(name="of these per second", ours=done / took),
        *_growth_figures(f"after {done:,} cycles", table[0].footprint, table[-1].footprint),
    ]
    for figure in figures:
        on_figure(figure)
    return figures, table


async def _holding(pool: KernelPool, number: int) -> Kernel:
    kernel = await pool.acquire()
    await kernel.run(f"x = {number}")
    return kernel


async def _use(pool: KernelPool, number: int) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run(f"{number} + 1")
        if result.value != str(number + 1):
            raise SandboxError(f"kernel {number} answered {result}")


async def _footprint_at_rest(base: Footprint) -> Footprint:
    """A footprint, measured when ended processes have been reaped, or after two seconds."""
    deadline = time.monotonic() + 2.0
    while (now := footprint.measure_footprint()).processes > base.processes and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return now


def _growth_figures(when: str, before: Footprint, after: Footprint) -> list[Figure]:
    figures = [
        Figure(name=f"{name} more {when}", ours=getattr(after, name) - getattr(before, name), at_most=0)
        for name in ("processes", "descriptors", "mounts", "cgroups", "folders")
    ]
    grown = after.memory_mb - before.memory_mb
    return [*figures, Figure(name=f"MB more {when}", ours=grown, at_most=GROWTH_MB)]


def _available_mb() -> float:
    with open("/proc/meminfo") as file:  # noqa: PTH123
        return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) * 1024 / 1e6


def _allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ValueError(f"--kernels needs {wanted} open files and this user may have {hard}; raise `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, wanted)) if hard > 0 else wanted, hard))
