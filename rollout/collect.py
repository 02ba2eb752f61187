"""Collect: tasks × engines → trajectories in the bank.

Contract: every episode is written to the bank when it finishes. Episodes that are in the bank are not run again, so the
same command resumes a collection that was killed. A collection that lost too many episodes to infrastructure failures
is refused: the remaining ones would be a biased sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rollout.config import CollectConfig, Source, WorkerConfig
from rollout.engines.spec import EngineSpec, ExpertSpec, ServerSpec
from rollout.families import load_tasks
from rollout.protocol import EpisodeProtocol
from rollout.registry import ENGINES
from rollout.store import TrajectoryStore, read_trajectories
from rollout.trajectory import Trajectory
from rollout.workers import EpisodeJob, run_jobs
from rollout.workers.progress import progress


def plan_jobs(config: CollectConfig, server: ServerSpec | None) -> list[EpisodeJob]:
    """Every episode of the collection, in a fixed order."""
    jobs = []
    for source in config.sources:
        engine = _engine(source, server)
        for task in load_tasks(source.tasks):
            for sample in range(source.samples):
                jobs.append(EpisodeJob(task, engine, source.sampling.model_copy(update={"seed": sample}), seed=sample))
    return jobs


def _engine(source: Source, server: ServerSpec | None) -> EngineSpec:
    if source.engine == "expert":
        return ExpertSpec(error_share=source.error_share)
    if source.engine == "model":
        assert server is not None, "the engine 'model' needs a server"
        return server
    describe = ENGINES.get(source.engine)
    try:
        return describe(**source.engine_options)
    except (TypeError, ValueError) as fault:
        raise ValueError(
            f"collect.sources.engine_options: the engine {source.engine!r} refuses them: {fault}"
        ) from None


def is_complete(config: CollectConfig, protocol: EpisodeProtocol, bank: Path, server: ServerSpec | None = None) -> bool:
    """Whether the bank holds every episode, so that neither Ray nor a server needs to start.

    Only the name of ``server`` is used; it does not need to run.
    """
    done = {record.id for record in read_trajectories(bank)}
    return all(job.id(protocol) in done for job in plan_jobs(config, server))


def collect_trajectories(
    config: CollectConfig, protocol: EpisodeProtocol, bank: Path, server: ServerSpec | None = None
) -> Counter[str]:
    """Runs the episodes that are not in the bank.

    Returns:
        Number of episodes by the reason they ended, including those of earlier calls.

    Raises:
        ValueError: too many episodes were lost to the infrastructure.
    """
    jobs = plan_jobs(config, server)
    run_missing(jobs, config.workers, protocol, bank, "collect")
    wanted = {job.id(protocol) for job in jobs}
    records = [record for record in read_trajectories(bank) if record.id in wanted]
    lost = sum(_lost(record) for record in records)
    if records and lost / len(records) > config.max_infra_share:
        raise ValueError(
            f"collect.max_infra_share: {lost} of {len(records)} episodes were lost to the infrastructure, more than "
            f"{config.max_infra_share:.0%}; fix the cause (`outcome.error` in the bank) and collect into a new folder"
        )
    return Counter(record.outcome.reason for record in records)


def run_missing(
    jobs: Sequence[EpisodeJob], workers: WorkerConfig, protocol: EpisodeProtocol, bank: Path, title: str
) -> None:
    """Runs the jobs whose trajectories are not in the bank and appends each when it finishes."""
    with TrajectoryStore(bank) as store:
        missing = [job for job in jobs if job.id(protocol) not in store.ids]
        if not missing:
            return
        solved = done = 0
        with progress(title, len(missing)) as advance:
            for trajectory in run_jobs(missing, workers, protocol):
                store.append(trajectory)
                done, solved = done + 1, solved + trajectory.outcome.success
                advance(f"{solved}/{done} solved")


def _lost(record: Trajectory) -> bool:
    return record.outcome.error is not None and record.outcome.error.kind == "infra"
