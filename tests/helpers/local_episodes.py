"""Episodes in this process, without Ray and without kernels, for scripted models whose turns run no code."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rollout import EpisodeJob, EpisodeKernel, EpisodeProtocol, Trajectory, WorkerConfig, run_episode
from rollout.bank.store import TrajectoryStore
from rollout.engines.base import Engine
from sandbox import CellResult


class IdleKernel:
    """A kernel in which nothing runs."""

    async def run(self, code: str, *, timeout_s: float | None = None) -> CellResult:
        raise AssertionError(f"a scripted turn runs code: {code}")

    async def close(self) -> None: ...


class IdleKernels:
    """Where idle kernels come from."""

    tier = "none"

    async def acquire(self, tools: Mapping[str, Callable[..., Any]]) -> EpisodeKernel:
        return IdleKernel()  # type: ignore[return-value]

    async def close(self) -> None: ...


def run_here(
    jobs: Sequence[EpisodeJob],
    workers: WorkerConfig,
    protocol: EpisodeProtocol,
    bank: Path,
    title: str,
    see: Callable[[Trajectory], None],
) -> Counter[str]:
    """In place of :func:`rollout.run_missing`: the episodes that are not in the bank, one after another."""

    async def run() -> None:
        engines: dict[str, Engine] = {}
        with TrajectoryStore(bank, see) as store:
            for job in jobs:
                if job.id(protocol) in store.ids:
                    continue
                if job.engine.name not in engines:
                    engines[job.engine.name] = job.engine.build(job.task)
                engine = engines[job.engine.name]
                store.append(await run_episode(job.task, engine, IdleKernels(), protocol, job.sampling, job.seed))
        for engine in engines.values():
            await engine.close()

    asyncio.run(run())
    return Counter()
