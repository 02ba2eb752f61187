"""Ray actors that run episodes, and the driver's loop that keeps them busy.

Contract: :func:`run_jobs` yields the trajectories of each job, in the order they finish: one of an episode, several of
a job of branches. An episode is a coroutine in an
actor, so one actor runs many at once with one kernel source; Ray spreads the actors over the cluster. An episode that
fails for an infrastructure reason is run again, up to ``infra_retries`` times; every other failure is an outcome. When
no attempt succeeds any more, the run stops (:mod:`rollout.workers.outage`). Seeds and ids belong to jobs, so the result
is the same for every number of workers.

Ray restarts a dead actor and runs its unfinished jobs again (``max_restarts``, ``max_task_retries``). A job that kills
its actor ``infra_retries + 1`` times ends the run, so a poisoned task cannot restart actors forever.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from rollout.bank.trajectory import Sampling, Trajectory, trajectory_id
from rollout.config import WorkerConfig
from rollout.engines.base import Engine
from rollout.engines.judge import Judge, JudgeSpec
from rollout.engines.spec import EngineSpec
from rollout.episode.branching import BranchJob, run_branches
from rollout.episode.legacy_verdicts import with_legacy_verdicts
from rollout.episode.loop import run_episode
from rollout.families.base import Task
from rollout.kernel_source import KernelSource, open_kernel_source, service_token
from rollout.protocol import EpisodeProtocol
from rollout.workers.outage import Outage


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to run."""

    task: Task
    engine: EngineSpec
    sampling: Sampling
    seed: int = 0
    judge: JudgeSpec | None = None
    """Only for tasks and protocols that need one, because it is part of the id (:func:`rollout.judge_for`)."""

    def id(self, protocol: EpisodeProtocol) -> str:
        """The id of its trajectory."""
        judge = self.judge.name if self.judge else None
        return trajectory_id(self.task.ref, self.engine.name, self.sampling, protocol.ref, self.seed, judge=judge)

    def ids(self, protocol: EpisodeProtocol) -> dict[str, int]:
        """The id of its trajectory → its seed."""
        return {self.id(protocol): self.seed}

    def without(self, done: Collection[str], protocol: EpisodeProtocol) -> EpisodeJob | None:
        """The job, or None when it is done."""
        return None if self.id(protocol) in done else self


Job = EpisodeJob | BranchJob
"""Work for an actor: one episode, or all branches of one."""


class RolloutWorker:
    """The actor: one kernel source, many episodes."""

    def __init__(self, config: WorkerConfig, protocol: EpisodeProtocol, token: str | None) -> None:
        self._config, self._protocol, self._token = config, protocol, token
        self._kernels: KernelSource | None = None
        self._opening = asyncio.Lock()
        self._engines: dict[str, Engine] = {}
        self._branching = asyncio.Semaphore(max(1, config.episodes_per_worker // 2))  # a branch job has two kernels
        self._judges: dict[str, Judge] = {}

    async def run(self, job: Job) -> tuple[list[Trajectory], list[str]]:
        """Runs one job; returns its trajectories and sentences for the user.

        Raises as :func:`rollout.kernel_source.open_kernel_source` does.
        """
        async with self._opening:
            if self._kernels is None:
                self._kernels = await open_kernel_source(self._config, self._protocol, self._token)
        notes: list[str] = []
        trajectories = await self._episodes(job, self._kernels, notes)
        if self._config.legacy_verdicts:
            trajectories = [
                await with_legacy_verdicts(one, job.task, self._protocol, self._kernels) for one in trajectories
            ]
        return trajectories, notes

    async def _episodes(self, job: Job, kernels: KernelSource, notes: list[str]) -> list[Trajectory]:
        engine, judge = self._engine(job), self._judge(job.judge)
        try:
            if isinstance(job, BranchJob):
                async with self._branching:
                    return await run_branches(job, engine, kernels, self._protocol, judge, notes.append)
            return [await run_episode(job.task, engine, kernels, self._protocol, job.sampling, job.seed, judge)]
        finally:
            if not job.engine.shared:
                await engine.close()

    async def close(self) -> None:
        """Ends kernels and connections."""
        for engine in self._engines.values():
            await engine.close()
        for judge in self._judges.values():
            await asyncio.to_thread(judge.close)
        if self._kernels is not None:
            await self._kernels.close()

    def _engine(self, job: Job) -> Engine:
        if not job.engine.shared:
            return job.engine.build(job.task)
        if job.engine.name not in self._engines:
            self._engines[job.engine.name] = job.engine.build(job.task)
        return self._engines[job.engine.name]

    def _judge(self, spec: JudgeSpec | None) -> Judge | None:
        return self._judges.setdefault(spec.name, Judge(spec)) if spec else None


def run_jobs(jobs: Sequence[Job], config: WorkerConfig, protocol: EpisodeProtocol) -> Iterator[Trajectory]:
    """Runs every job on Ray actors, in the current session (:func:`rollout.ray_session`).

    Raises:
        ValueError: a worker cannot open its kernel source, or raised another error that no retry fixes.
        OutageError: no attempt succeeds any more.
        RuntimeError: one job's actor died ``infra_retries + 1`` times.
    """
    actors = ActorPool(config, protocol)
    outage = Outage(config.workers * config.episodes_per_worker)
    waiting = deque((job, 0) for job in jobs)
    said: set[str] = set()
    running: dict[ray.ObjectRef, tuple[Job, int, int]] = {}
    try:
        while waiting or running:
            loads = [actor for _, _, actor in running.values()]
            for actor in actors.free(loads, len(waiting)):
                job, attempt = waiting.popleft()
                running[actors.submit(actor, job)] = (job, attempt, actor)
            finished, _ = ray.wait(list(running), num_returns=1)
            job, attempt, _ = running.pop(finished[0])
            done = set()
            trajectories, notes = _result(finished[0])
            for note in sorted(set(notes) - said):
                print(note, file=sys.stderr)
            said.update(notes)
            for trajectory in trajectories:
                outage.see(trajectory)
                if not trajectory.lost or attempt >= config.infra_retries:
                    done.add(trajectory.id)
                    yield trajectory
            if (again := job.without(done, protocol)) is not None:
                waiting.append((again, attempt + 1))
    finally:
        actors.close()


class ActorPool:
    """The actors. Ray restarts one that dies."""

    def __init__(self, config: WorkerConfig, protocol: EpisodeProtocol) -> None:
        self._episodes_per_worker = config.episodes_per_worker
        worker = ray.remote(num_cpus=config.cpus_per_worker, max_restarts=-1, max_task_retries=config.infra_retries)(
            RolloutWorker
        )
        token = service_token(config)
        self._actors: list[Any] = [worker.remote(config, protocol, token) for _ in range(config.workers)]

    def free(self, busy: Sequence[int], wanted: int) -> list[int]:
        """Indices of actors that can take a job, the least busy first, at most ``wanted``.

        Args:
            busy: the actor of each running job.
        """
        load = [busy.count(actor) for actor in range(len(self._actors))]
        free = [
            (count + taken, actor)
            for actor, count in enumerate(load)
            for taken in range(self._episodes_per_worker - count)
        ]
        return [actor for _, actor in sorted(free)[:wanted]]

    def submit(self, actor: int, job: Job) -> Any:
        """Starts a job on an actor and returns the reference of its trajectories."""
        return self._actors[actor].run.remote(job)

    def close(self) -> None:
        """Ends every actor and its kernels."""
        for actor in self._actors:
            # The kernels of a dead actor have ended with it.
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(actor.close.remote(), timeout=10)
            ray.kill(actor)


def _result(reference: Any) -> tuple[list[Trajectory], list[str]]:
    try:
        result: tuple[list[Trajectory], list[str]] = ray.get(reference)
        return result
    except ray.exceptions.RayTaskError as fault:
        # Failures of an episode are in its outcome; this worker cannot run any.
        raise ValueError(f"rollout worker: {fault.cause}") from fault
    except ray.exceptions.RayActorError as fault:
        raise RuntimeError(f"the rollout worker of one episode died again and again: {fault}") from fault
