"""Checks a benchmark: its graders, then whole episodes under each of its protocols."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from eval.benchmarks import Benchmark
from eval.benchmarks.validation.episodes import can_play, play
from eval.benchmarks.validation.report import GRADER, Check
from rollout import EpisodeProtocol, Task
from rollout.checks.validate import check_task, spread
from rollout.families import MissingDataError

_THREADS = 4
"""Threads that wait for graders in processes of their own."""
_PLAIN = {"codeact": "codeact"}
"""The protocol of a benchmark that fixes none."""


def ways_of(benchmark: Benchmark) -> dict[str, str]:
    """The ways in which a benchmark is checked, with the protocol of each; that of ``grader`` is empty."""
    return {GRADER: "", **(benchmark.spec.protocols if benchmark.spec else _PLAIN)}


def validate_benchmark(benchmark: Benchmark, way: str | None = None, limit: int | None = None) -> Iterator[Check]:
    """Checks a benchmark in each of its ways.

    Args:
        benchmark: the benchmark.
        way: only this one: ``grader``, or the benchmark's name of a protocol.
        limit: this many of its tasks, evenly spread; None: all.

    Raises:
        ValueError: there is no such way.
        SandboxError: this machine cannot run kernels.
    """
    ways = ways_of(benchmark)
    if way is not None and way not in ways:
        raise ValueError(f"{benchmark.name} is not checked by {way!r}; choose from: {', '.join(ways)}")
    try:
        tasks = spread(benchmark.load(), limit)
    except MissingDataError as fault:
        yield Check(benchmark.name, missing=str(fault))
        return
    for name, protocol in ways.items():
        if way not in (None, name):
            continue
        if name == GRADER:
            yield _by_grader(benchmark.name, tasks)
        else:
            yield from _by_episodes(Check(benchmark.name, name, protocol, tasks=len(tasks)), tasks)


def _by_grader(name: str, tasks: Sequence[Task]) -> Check:
    started, check = time.monotonic(), Check(name, tasks=len(tasks))
    with ThreadPoolExecutor(_THREADS) as threads:
        for report in threads.map(check_task, tasks):
            check.include(report)
    check.seconds = time.monotonic() - started
    return check


def _by_episodes(check: Check, tasks: Sequence[Task]) -> Iterator[Check]:
    """Nothing when no task can be played under the protocol."""
    protocol = EpisodeProtocol.model_validate(check.protocol)
    if not any(can_play(task, protocol.form) for task in tasks):
        return
    started = time.monotonic()
    asyncio.run(play(check, tasks, protocol))
    check.seconds = time.monotonic() - started
    yield check
