"""Collect: tasks × engines → trajectories in the bank.

Contract: every episode is written to the bank when it finishes. Episodes that are in the bank are not run again, so the
same command resumes a collection that was killed. An episode that is lost to the infrastructure, after its retries, is
not written: it says nothing about the model, and the same command runs it again. A collection that lost too many is
refused: the remaining ones would be a biased sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rollout.config import CollectConfig, Source, WorkerConfig
from rollout.engines.judge import JudgeSpec
from rollout.engines.spec import EngineSpec, ExpertSpec, ServerSpec
from rollout.families import Task, load_tasks
from rollout.protocol import EpisodeProtocol
from rollout.registry import ENGINES, GRADERS
from rollout.store import TrajectoryStore, read_trajectories
from rollout.workers import EpisodeJob, run_jobs
from rollout.workers.progress import progress

NO_SERVERS: Mapping[str, ServerSpec] = {}


def plan_jobs(
    config: CollectConfig,
    servers: Mapping[str, ServerSpec] = NO_SERVERS,
    *,
    protocol: EpisodeProtocol | None = None,
    judge: JudgeSpec | None = None,
) -> list[EpisodeJob]:
    """Every episode of the collection, in a fixed order.

    Args:
        servers: engine name → server, for the sources with that engine; ``model`` is the model in training.
        protocol: whether it needs a judge.
        judge: for the tasks and protocols that need one.

    Raises:
        ValueError: an engine does not exist, or refuses its options; a judge is needed and there is none.
    """
    jobs = []
    for source in config.sources:
        engine = _engine(source, servers)
        for task in load_tasks(source.tasks):
            asked = judge_for(task, protocol, judge)
            for sample in range(source.samples):
                sampling = source.sampling.model_copy(update={"seed": sample})
                jobs.append(EpisodeJob(task, engine, sampling, sample, asked))
    return jobs


def judge_for(task: Task, protocol: EpisodeProtocol | None, judge: JudgeSpec | None) -> JudgeSpec | None:
    """The judge, when the task's grader or the protocol needs one.

    Raises:
        ValueError: one is needed and there is none.
    """
    grader = getattr(GRADERS.get(task.grader), "needs_judge", False)
    if not grader and not (protocol and protocol.needs_judge):
        return None
    if judge is None:
        what = f"the grader {task.grader!r} of {task.id}" if grader else "the feedback of the protocol"
        raise ValueError(f"judge.engine=null: {what} needs a judge; name an engine of the section engines")
    return judge


def _engine(source: Source, servers: Mapping[str, ServerSpec]) -> EngineSpec:
    if source.engine in servers:
        return servers[source.engine]
    if source.engine == "expert":
        return ExpertSpec(error_share=source.error_share)
    assert source.engine != "model", "the engine 'model' needs a server"
    describe = ENGINES.get(source.engine)
    try:
        return describe(**source.engine_options)
    except (TypeError, ValueError) as fault:
        raise ValueError(
            f"collect.sources.engine_options: the engine {source.engine!r} refuses them: {fault}"
        ) from None


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
    return all(job.id(protocol) in done for job in plan_jobs(config, servers, protocol=protocol, judge=judge))


def collect_trajectories(
    config: CollectConfig,
    protocol: EpisodeProtocol,
    bank: Path,
    servers: Mapping[str, ServerSpec] = NO_SERVERS,
    judge: JudgeSpec | None = None,
) -> Counter[str]:
    """Runs the episodes that are not in the bank, with engines as :func:`plan_jobs` finds them.

    Returns:
        Number of episodes by the reason they ended, including those of earlier calls. :data:`LOST` counts those that
        the infrastructure has lost; they are not in the bank.

    Raises:
        ValueError: too many episodes were lost to the infrastructure.
    """
    jobs = plan_jobs(config, servers, protocol=protocol, judge=judge)
    lost = run_missing(jobs, config.workers, protocol, bank, "collect")
    if lost.total() > config.max_infra_share * len(jobs):
        raise ValueError(
            f"collect.max_infra_share: {lost_sentence(lost, len(jobs))}, more than {config.max_infra_share:.0%}; "
            "finished episodes are kept: mend the cause, then the same command runs the others"
        )
    wanted = {job.id(protocol) for job in jobs}
    reasons: Counter[str] = Counter(
        record.outcome.reason for record in read_trajectories(bank) if record.id in wanted and not record.lost
    )
    if lost:
        reasons[LOST] = lost.total()
    return reasons


LOST = "lost to the infrastructure"


def run_missing(
    jobs: Sequence[EpisodeJob], workers: WorkerConfig, protocol: EpisodeProtocol, bank: Path, title: str
) -> Counter[str]:
    """Runs the jobs whose trajectories are not in the bank and appends each when it finishes.

    Returns:
        Number of episodes lost to the infrastructure, by the message of their error. They are not in the bank.

    Raises:
        OutageError: no episode can be run.
    """
    lost: Counter[str] = Counter()
    with TrajectoryStore(bank) as store:
        missing = [job for job in jobs if job.id(protocol) not in store.ids]
        if not missing:
            return lost
        solved = done = 0
        with progress(title, len(missing)) as advance:
            for trajectory in run_jobs(missing, workers, protocol):
                if trajectory.lost and trajectory.outcome.error:
                    lost[trajectory.outcome.error.message] += 1
                else:
                    store.append(trajectory)
                done, solved = done + 1, solved + trajectory.outcome.success
                advance(f"{solved}/{done} solved")
    return lost


def lost_sentence(lost: Counter[str], jobs: int) -> str:
    """How many episodes were lost, and the most frequent cause."""
    cause, _ = lost.most_common(1)[0]
    return f"{lost.total()} of {jobs} episodes were lost to the infrastructure ({cause})"
