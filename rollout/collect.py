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
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rollout.bank import BankWriter, read_bank
from rollout.engines.spec import ExpertSpec, ServerSpec
from rollout.progress import progress
from rollout.protocol import Protocol
from rollout.tasks import TaskSet, load_tasks
from rollout.trajectory import Sampling, Trajectory
from rollout.workers import Job, WorkerConfig, run_jobs


class Source(BaseModel):
    """Who works on which tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["expert", "model"] = "expert"
    """`expert`: the family's scripted expert; `model`: the model being trained, behind a server."""
    tasks: TaskSet = TaskSet()
    """The tasks."""
    samples: int = Field(1, gt=0)
    """Episodes a task, each with its own seed."""
    sampling: Sampling = Sampling()
    """How the model's completions are drawn; the expert ignores it."""
    error_share: float = Field(0.15, ge=0.0, le=1.0)
    """Expert: share of tasks on which it makes a plain mistake first and repairs it."""


class CollectConfig(BaseModel):
    """A collection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[Source, ...] = (Source(),)
    """Worked through in order."""
    workers: WorkerConfig = WorkerConfig()
    """How episodes are run."""
    max_infra_share: float = Field(0.05, ge=0.0, le=1.0)
    """Largest share of episodes lost to the infrastructure with which a collection still counts."""

    @property
    def needs_model(self) -> bool:
        """Does any source need a model server?"""
        return any(source.engine == "model" for source in self.sources)


def jobs_of(config: CollectConfig, server: ServerSpec | None) -> list[Job]:
    """Every episode of the collection, in a fixed order."""
    jobs = []
    for source in config.sources:
        engine = ExpertSpec(error_share=source.error_share) if source.engine == "expert" else server
        assert engine is not None, "a source of kind model needs a server"
        for task in load_tasks(source.tasks):
            for sample in range(source.samples):
                jobs.append(Job(task, engine, source.sampling.model_copy(update={"seed": sample}), seed=sample))
    return jobs


def collect(config: CollectConfig, protocol: Protocol, bank: Path, server: ServerSpec | None = None) -> Counter[str]:
    """Runs what the bank does not hold yet.

    Returns:
        Episodes of this collection by their reason of ending, those of earlier calls included.

    Raises:
        ValueError: too many episodes were lost to the infrastructure.
    """
    jobs = jobs_of(config, server)
    run_missing(jobs, config.workers, protocol, bank, "collect")
    wanted = {job.id(protocol) for job in jobs}
    records = [record for record in read_bank(bank) if record.id in wanted]
    lost = sum(_lost(record) for record in records)
    if records and lost / len(records) > config.max_infra_share:
        raise ValueError(
            f"collect.max_infra_share: {lost} of {len(records)} episodes were lost to the infrastructure, more than "
            f"{config.max_infra_share:.0%}; mend the cause (`outcome.error` in the bank) and collect into a new folder"
        )
    return Counter(record.outcome.reason for record in records)


def run_missing(jobs: Sequence[Job], workers: WorkerConfig, protocol: Protocol, bank: Path, title: str) -> None:
    """Runs the jobs whose trajectories are not in the bank and appends each as it finishes."""
    with BankWriter(bank) as writer:
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
