"""Collect: tasks × engines → trajectories in the bank.

Contract: every episode lands in the bank the moment it finishes. What the bank holds already is not run again, so a
collection that was killed is started again with the same command and goes on where it was. A collection in which too
many episodes failed for reasons of the infrastructure is refused: what is left of it would be biased towards the
episodes that were lucky.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rollout.config import CollectConfig, WorkerConfig
from rollout.engines.spec import ExpertSpec, ServerSpec
from rollout.families import load_tasks
from rollout.progress import progress
from rollout.protocol import EpisodeProtocol
from rollout.store import TrajectoryStore, read_trajectories
from rollout.trajectory import Trajectory
from rollout.workers import EpisodeJob, run_jobs


def plan_jobs(config: CollectConfig, server: ServerSpec | None) -> list[EpisodeJob]:
    """Every episode of the collection, in a fixed order."""
    jobs = []
    for source in config.sources:
        engine = ExpertSpec(error_share=source.error_share) if source.engine == "expert" else server
        assert engine is not None, "a source of kind model needs a server"
        for task in load_tasks(source.tasks):
            for sample in range(source.samples):
                jobs.append(EpisodeJob(task, engine, source.sampling.model_copy(update={"seed": sample}), seed=sample))
    return jobs


def is_complete(config: CollectConfig, protocol: EpisodeProtocol, bank: Path, server: ServerSpec | None = None) -> bool:
    """Whether the bank holds every episode, so that neither Ray nor the server has to be there.

    ``server`` may be one that does not run yet: episodes are known by its name alone.
    """
    done = {record.id for record in read_trajectories(bank)}
    return all(job.id(protocol) in done for job in plan_jobs(config, server))


def collect(
    config: CollectConfig, protocol: EpisodeProtocol, bank: Path, server: ServerSpec | None = None
) -> Counter[str]:
    """Runs what the bank does not hold yet.

    Returns:
        Episodes of this collection by their reason of ending, those of earlier calls included.

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
            f"{config.max_infra_share:.0%}; mend the cause (`outcome.error` in the bank) and collect into a new folder"
        )
    return Counter(record.outcome.reason for record in records)


def run_missing(
    jobs: Sequence[EpisodeJob], workers: WorkerConfig, protocol: EpisodeProtocol, bank: Path, title: str
) -> None:
    """Runs the jobs whose trajectories are not in the bank and appends each as it finishes."""
    with TrajectoryStore(bank) as writer:
        missing = [job for job in jobs if job.id(protocol) not in writer.ids]
        if not missing:
            return
        solved = done = 0
        with progress(title, len(missing)) as advance:
            for trajectory in run_jobs(missing, workers, protocol):
                writer.append(trajectory)
                done, solved = done + 1, solved + trajectory.outcome.success
                advance(f"{solved}/{done} solved")


def _lost(record: Trajectory) -> bool:
    return record.outcome.error is not None and record.outcome.error.kind == "infra"
