"""Replays: recorded turns drive episodes through our loop, kernels, tools and graders.

Contract: :func:`execute` runs every job that is not in the bank and appends its trajectory when it ends, so a replay
that was killed goes on. One process runs ``at_once`` episodes side by side on one pool of kernels; the results do not
depend on that number. Cells have the limits of the records: 30 s, 2,000 characters. An episode that the infrastructure
lost is not stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rollout.bank.store import TrajectoryStore, read_trajectories
from rollout.bank.trajectory import Sampling, Trajectory, trajectory_id
from rollout.checks.replay.engine import ReplayEngine
from rollout.checks.replay.recorded import RecordedRun
from rollout.checks.replay.tasks import Job
from rollout.episode.loop import run_episode
from rollout.protocol import EpisodeProtocol
from sandbox import KernelPool, Limits

PRELOAD = ("numpy", "pandas", "sympy")
"""Imported by the fork server once, and not by every kernel."""
_SAMPLING = Sampling(max_tokens=512)


PROTOCOL = EpisodeProtocol.model_validate(
    {"extends": "mint", "name": "mint-replay", "checkpoint": False, "example": False}
)
"""MINT's limits and form of turns with our wording. No example: a recorded turn does not depend on it."""
GAMES, GAMES_AT_ONCE = "alfworld", 4
"""A game takes seconds to load and is kept for the next episode of the same game; see :func:`execute`."""


@dataclass(frozen=True)
class ReplayOptions:
    """How episodes are run."""

    at_once: int = 16
    """Episodes at the same time."""
    memory_mib: int = 512
    """Memory of one kernel."""
    protocol: EpisodeProtocol = PROTOCOL
    """Limits and wording; that of a bank's run, for its trajectories."""


def replay_id(job: Job, protocol: EpisodeProtocol) -> str:
    """The id of the trajectory that replays a run."""
    run, task = job
    return trajectory_id(task.ref, engine_name(run), _SAMPLING, protocol_of(run, protocol).ref, run.sample)


def protocol_of(run: RecordedRun, protocol: EpisodeProtocol) -> EpisodeProtocol:
    """The protocol with the form of a run's turns."""
    return protocol if run.form == protocol.form else protocol.model_copy(update={"form": run.form})


def engine_name(run: RecordedRun) -> str:
    """The model of a replayed trajectory."""
    return f"replay:{run.model}"


def execute(
    jobs: Sequence[Job],
    bank: Path,
    options: ReplayOptions,
    on_end: Callable[[Trajectory], None] = lambda trajectory: None,
) -> dict[str, Trajectory]:
    """The trajectory of each job by its id: those of the bank, and those that are run now.

    Games come last, a few at once and those of one game together, so that each game is loaded once.

    Args:
        jobs: runs with their tasks.
        bank: folder of trajectories.
        options: how episodes are run.
        on_end: called with each trajectory that is run now.

    Raises:
        ValueError: another process writes the bank.
        SandboxError: this machine cannot run kernels.
    """
    with TrajectoryStore(bank) as store:
        missing = {replay_id(job, options.protocol): job for job in jobs}
        missing = {name: job for name, job in missing.items() if name not in store.ids}

        games = sorted((job for job in missing.values() if job[0].family == GAMES), key=lambda job: job[0].task_id)
        others = [job for job in missing.values() if job[0].family != GAMES]
        slowly = replace(options, at_once=min(options.at_once, GAMES_AT_ONCE))

        async def run_all() -> None:
            for part, how in ((others, options), (games, slowly)):
                async for trajectory in _episodes(part, how):
                    if not trajectory.lost:
                        store.append(trajectory)
                    on_end(trajectory)

        if missing:
            asyncio.run(run_all())
    wanted = {replay_id(job, options.protocol) for job in jobs}
    return {record.id: record for record in read_trajectories(bank) if record.id in wanted and not record.lost}


async def _episodes(jobs: Sequence[Job], options: ReplayOptions) -> AsyncIterator[Trajectory]:
    """Runs episodes, at most ``at_once`` at a time, and yields each when it ends."""
    if not jobs:
        return
    waiting = iter(jobs)
    limits = Limits(memory_mib=options.memory_mib, cell_timeout_s=options.protocol.cell_timeout_s)
    size, checkpoint = min(4, options.at_once), options.protocol.checkpoint
    async with KernelPool(size=size, limits=limits, preload=PRELOAD, checkpoint=checkpoint) as pool:
        running: set[asyncio.Task[Trajectory]] = set()
        while True:
            while len(running) < options.at_once and (job := next(waiting, None)) is not None:
                running.add(asyncio.create_task(_episode(job, pool, options.protocol)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                yield finished.result()


async def _episode(job: Job, pool: KernelPool, protocol: EpisodeProtocol) -> Trajectory:
    run, task = job
    engine = ReplayEngine(engine_name(run), run.turns)
    return await run_episode(task, engine, pool, protocol_of(run, protocol), _SAMPLING, run.sample)
