"""Ray actors that run episodes, and the driver's loop that keeps them busy.

Contract: :func:`run_jobs` yields one trajectory a job, in the order they finish. An episode is a coroutine inside an
actor, so one actor runs many at once over one kernel pool; actors are spread by Ray over the cluster. A job whose
episode failed for a reason of the infrastructure (a lost actor or server) is run again, up to a limit; everything
else is an outcome. Seeds and ids belong to jobs, so the result is the same whatever the number of workers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from rollout.config import WorkerConfig
from rollout.engines.base import Engine
from rollout.engines.spec import ExpertSpec, ServerSpec
from rollout.episode import run_episode
from rollout.families.base import Task
from rollout.kernel_source import Pool, open_pool, service_token
from rollout.protocol import EpisodeProtocol
from rollout.trajectory import Sampling, Trajectory, trajectory_id


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to run."""

    task: Task
    engine: ExpertSpec | ServerSpec
    sampling: Sampling
    seed: int = 0

    def id(self, protocol: EpisodeProtocol) -> str:
        """The id its trajectory will have."""
        return trajectory_id(self.task.ref, self.engine.name, self.sampling, protocol.ref, self.seed)


class RolloutWorker:
    """The actor: one kernel pool, many episodes."""

    def __init__(self, config: WorkerConfig, protocol: EpisodeProtocol, token: str | None) -> None:
        self._config, self._protocol, self._token = config, protocol, token
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._servers: dict[str, Engine] = {}

    async def run(self, job: EpisodeJob) -> Trajectory:
        """Runs one episode. Raises what :func:`rollout.kernel_source.open_pool` does."""
        async with self._opening:
            if self._pool is None:
                self._pool = await open_pool(self._config, self._protocol, self._token)
        return await run_episode(job.task, self._engine(job), self._pool, self._protocol, job.sampling, job.seed)

    async def close(self) -> None:
        """Ends kernels and connections."""
        for engine in self._servers.values():
            await engine.close()
        if self._pool is not None:
            await self._pool.close()

    def _engine(self, job: EpisodeJob) -> Engine:
        if isinstance(job.engine, ExpertSpec):
            return job.engine.build(job.task)
        if job.engine.name not in self._servers:
            self._servers[job.engine.name] = job.engine.build(job.task)
        return self._servers[job.engine.name]


def run_jobs(jobs: Sequence[EpisodeJob], config: WorkerConfig, protocol: EpisodeProtocol) -> Iterator[Trajectory]:
    """Runs every job on Ray actors (a session must be there: :func:`rollout.cluster.ray_session`).

    Raises:
        ValueError: a worker gets no kernels, or any other fault that no retry mends.
        RuntimeError: an actor dies again and again.
    """
    actors = ActorPool(config, protocol)
    waiting = deque((job, 0) for job in jobs)
    running: dict[ray.ObjectRef, tuple[EpisodeJob, int, int]] = {}
    try:
        while waiting or running:
            for place in actors.free_places(running, len(waiting)):
                job, attempt = waiting.popleft()
                running[actors.submit(place, job)] = (job, attempt, place)
            finished, _ = ray.wait(list(running), num_returns=1)
            job, attempt, place = running.pop(finished[0])
            trajectory = actors.result(finished[0], place, attempt)
            if trajectory is None or (_is_infra(trajectory) and attempt < config.infra_retries):
                waiting.append((job, attempt + 1))
            else:
                yield trajectory
    finally:
        actors.close()


class ActorPool:
    """The actors, each replaced when it dies."""

    def __init__(self, config: WorkerConfig, protocol: EpisodeProtocol) -> None:
        self._config, self._protocol, self._token = config, protocol, service_token(config)
        self._actors: list[Any] = [self._start() for _ in range(config.workers)]

    def _start(self) -> Any:
        actor = ray.remote(num_cpus=self._config.cpus_per_worker)(RolloutWorker)
        return actor.remote(self._config, self._protocol, self._token)

    def free_places(self, running: dict[Any, tuple[EpisodeJob, int, int]], wanted: int) -> list[int]:
        """Indices of actors that can take a job, the least busy first, at most `wanted` of them."""
        load = [0] * len(self._actors)
        for _, _, place in running.values():
            load[place] += 1
        free = [(count + taken, place) for place, count in enumerate(load)
                for taken in range(self._config.episodes_per_worker - count)]  # fmt: skip
        return [place for _, place in sorted(free)[:wanted]]

    def submit(self, place: int, job: EpisodeJob) -> Any:
        """Starts a job on an actor."""
        return self._actors[place].run.remote(job)

    def result(self, reference: Any, place: int, attempt: int) -> Trajectory | None:
        """The trajectory, or None when its actor died and the job may be run again."""
        actor = self._actors[place]
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as fault:
            # An episode's own faults are in its outcome; this is a worker that cannot work at all.
            raise ValueError(f"rollout worker: {fault.cause}") from fault
        except ray.exceptions.RayActorError as fault:
            if attempt >= self._config.infra_retries:
                raise RuntimeError(f"a rollout worker died {attempt + 1} times on one episode: {fault}") from fault
            if self._actors[place] is actor and not _alive(actor):
                self._actors[place] = self._start()
            return None

    def close(self) -> None:
        """Ends every actor and its kernels."""
        for actor in self._actors:
            # One that is dead already took its kernels with it.
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(actor.close.remote(), timeout=10)
            ray.kill(actor)


def _alive(actor: Any) -> bool:
    try:
        ray.get(actor.__ray_ready__.remote(), timeout=5)
    except ray.exceptions.RayError:
        return False
    return True


def _is_infra(trajectory: Trajectory) -> bool:
    return trajectory.outcome.error is not None and trajectory.outcome.error.kind == "infra"
