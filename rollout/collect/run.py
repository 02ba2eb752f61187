"""Collect: tasks × engines → trajectories in the bank.

Contract: every episode is written to the bank when it finishes. Episodes that are in the bank are not run again, so the
same command resumes a collection that was killed. An episode that is lost to the infrastructure, after its retries, is
not written: it says nothing about the model, and the same command runs it again. A collection that lost too many is
refused: the remaining ones would be a biased sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rollout.bank.store import TrajectoryStore, read_trajectories
from rollout.bank.trajectory import Trajectory
from rollout.collect.planning import Collection
from rollout.config import CollectConfig, WorkerConfig
from rollout.engines.judge import JudgeSpec
from rollout.engines.spec import ServerSpec
from rollout.protocol import EpisodeProtocol
from rollout.workers import Job, run_jobs
from rollout.workers.progress import progress

NO_SERVERS: Mapping[str, ServerSpec] = {}


def is_complete(
    config: CollectConfig,
    protocol: EpisodeProtocol,
    bank: Path,
    servers: Mapping[str, ServerSpec] = NO_SERVERS,
    judge: JudgeSpec | None = None,
) -> bool:
    """Whether the bank holds every episode, so that neither Ray nor a server needs to start.

    Only the names of servers are used; they do not need to run.
    """
    done = {record.id for record in read_trajectories(bank) if not record.lost}
    phases = Collection(config, protocol, servers, judge).phases(bank)
    return all(job.without(done, protocol) is None for jobs in phases for job in jobs)


def collect_trajectories(
    config: CollectConfig,
    protocol: EpisodeProtocol,
    bank: Path,
    servers: Mapping[str, ServerSpec] = NO_SERVERS,
    judge: JudgeSpec | None = None,
) -> Counter[str]:
    """Runs the episodes that are not in the bank, phase by phase (:class:`rollout.collect.planning.Collection`).

    Args:
        servers: engine name → server, for the sources with that engine; ``model`` is the model in training.
        judge: for the tasks and protocols that need one.

    Returns:
        Number of episodes by the reason they ended, including those of earlier calls. :data:`LOST` counts those that
        the infrastructure has lost; they are not in the bank.

    Raises:
        ValueError: too many episodes were lost to the infrastructure.
    """
    wanted: set[str] = set()
    lost: dict[str, str] = {}
    for jobs in Collection(config, protocol, servers, judge).phases(bank):
        ids = {id for job in jobs for id in job.ids(protocol)}
        lost_now = run_missing(jobs, config.workers, protocol, bank, "collect")
        if len(lost_now) > config.max_infra_share * len(ids):
            raise ValueError(
                f"collect.max_infra_share: {lost_sentence(lost_now, len(ids))}, more than "
                f"{config.max_infra_share:.0%}; finished episodes are kept: mend the cause, then the same command runs "
                "the others"
            )
        wanted |= ids
        lost |= lost_now
    reasons: Counter[str] = Counter(
        record.outcome.reason for record in read_trajectories(bank) if record.id in wanted and not record.lost
    )
    if lost:
        reasons[LOST] = len(lost)
    return reasons


LOST = "lost to the infrastructure"


def run_missing(
    jobs: Sequence[Job],
    workers: WorkerConfig,
    protocol: EpisodeProtocol,
    bank: Path,
    title: str,
    see: Callable[[Trajectory], None] | None = None,
) -> dict[str, str]:
    """Runs the jobs whose trajectories are not in the bank and appends each when it finishes.

    Args:
        see: called with each record of the bank that is done, and with each that is appended.

    Returns:
        The episodes that were lost to the infrastructure, id → message of the error. They are not in the bank.

    Raises:
        OutageError: no episode can be run.
    """
    lost: dict[str, str] = {}
    with TrajectoryStore(bank, see) as store:
        missing = [left for job in jobs if (left := job.without(store.ids, protocol)) is not None]
        if not missing:
            return lost
        solved = done = 0
        with progress(title, sum(len(job.ids(protocol)) for job in missing)) as advance:
            for trajectory in run_jobs(missing, workers, protocol):
                if trajectory.lost and trajectory.outcome.error:
                    lost[trajectory.id] = trajectory.outcome.error.message
                else:
                    store.append(trajectory)
                done, solved = done + 1, solved + trajectory.outcome.success
                advance(f"{solved}/{done} solved")
    return lost


def lost_sentence(lost: Mapping[str, str], jobs: int) -> str:
    """How many episodes were lost, and the most frequent cause."""
    ((cause, _),) = Counter(lost.values()).most_common(1)
    return f"{len(lost)} of {jobs} episodes were lost to the infrastructure ({cause})"
