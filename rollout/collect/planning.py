"""Which episodes a collection has: tasks × engines × samples, in phases.

Contract: a phase is planned when the phases before it are in the bank. The first has the sources that depend on
nothing. A source with ``only_unsolved`` is a phase of its own: its tasks are those that no earlier source has solved.
The last phase has the branches of failed episodes (``repair``). The same configuration and the same bank give the same
jobs in the same order. Nothing is run here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from random import Random

from rollout.bank.store import read_trajectories
from rollout.config import CollectConfig, Source
from rollout.engines.judge import JudgeSpec
from rollout.engines.spec import EngineSpec, ExpertSpec, ServerSpec
from rollout.episode.branching import BranchJob, repair_jobs
from rollout.families import Task, load_tasks
from rollout.protocol import EpisodeProtocol
from rollout.registry import ENGINES, GRADERS
from rollout.workers import EpisodeJob, Job


@dataclass(frozen=True)
class Collection:
    """A collection with everything that its jobs depend on.

    Attributes:
        servers: engine name → server, for the sources with that engine; ``model`` is the model in training.
        judge: for the tasks and protocols that need one.
    """

    config: CollectConfig
    protocol: EpisodeProtocol
    servers: Mapping[str, ServerSpec] = field(default_factory=dict)
    judge: JudgeSpec | None = None

    def phases(self, bank: Path) -> Iterator[list[Job]]:
        """The jobs of each phase; the next phase is planned from the bank when it is asked for.

        Raises:
            ValueError: an engine does not exist, or refuses its options; a judge is needed and there is none.
        """
        started: list[tuple[Source, list[EpisodeJob]]] = []
        for depends, sources in groupby(self.config.sources, key=lambda source: source.only_unsolved):
            for group in [[source] for source in sources] if depends else [list(sources)]:
                planned = [(source, self._jobs(source, self._tasks(source, started, bank))) for source in group]
                started += planned
                yield [job for _, jobs in planned for job in jobs]
        if any(source.repair for source in self.config.sources):
            yield [job for source, jobs in started for job in self._repairs(source, jobs, bank)]

    def _tasks(
        self, source: Source, started: Sequence[tuple[Source, Sequence[EpisodeJob]]], bank: Path
    ) -> Sequence[Task]:
        tasks = load_tasks(source.tasks)
        if not source.only_unsolved:
            return tasks
        ids = {job.id(self.protocol) for _, jobs in started for job in jobs}
        solved = {one.task.digest for one in read_trajectories(bank) if one.outcome.success and one.id in ids}
        left = [task for task in tasks if task.ref.digest not in solved]
        if source.most_tasks is None or source.most_tasks >= len(left):
            return left
        chosen = Random(f"unsolved/{source.tasks.seed}").sample(range(len(left)), source.most_tasks)
        return [left[index] for index in sorted(chosen)]

    def _jobs(self, source: Source, tasks: Sequence[Task]) -> list[EpisodeJob]:
        jobs = []
        for name in source.names:
            engine = self._engine(name, source)
            for task in tasks:
                self.protocol.check_task(task.id, task.choices, 1 + len(task.followups))
                asked = judge_for(task, self.protocol, self.judge)
                for sample in range(source.samples):
                    sampling = source.sampling.model_copy(update={"seed": sample})
                    jobs.append(EpisodeJob(task, engine, sampling, sample, asked))
        return jobs

    def _repairs(self, source: Source, jobs: Sequence[EpisodeJob], bank: Path) -> list[BranchJob]:
        repair = source.repair
        if repair is None:
            return []
        engine = self._engine(repair.engine, source) if repair.engine else None
        by_id = {job.id(self.protocol): job for job in jobs}
        found: list[BranchJob] = []
        for parent in read_trajectories(bank):
            if (job := by_id.get(parent.id)) is not None:
                sampling = repair.sampling or job.sampling
                pair = [(parent, job.task)]
                found += repair_jobs(pair, engine or job.engine, sampling, repair.samples, repair.at, job.judge)
        return found

    def _engine(self, name: str, source: Source) -> EngineSpec:
        if name in self.servers:
            return self.servers[name]
        if name == "expert":
            return ExpertSpec(error_share=source.error_share, form=self.protocol.form)
        assert name != "model", "the engine 'model' needs a server"
        describe = ENGINES.get(name)
        try:
            spec: EngineSpec = describe(**source.engine_options)
            return spec
        except (TypeError, ValueError) as fault:
            raise ValueError(f"collect.sources.engine_options: the engine {name!r} refuses them: {fault}") from None


def judge_for(task: Task, protocol: EpisodeProtocol, judge: JudgeSpec | None) -> JudgeSpec | None:
    """The judge, when the task's grader or the protocol needs one.

    Raises:
        ValueError: one is needed and there is none.
    """
    grader = getattr(GRADERS.get(task.grader), "needs_judge", False)
    if not grader and not protocol.needs_judge:
        return None
    if judge is None:
        what = f"the grader {task.grader!r} of {task.id}" if grader else "the feedback of the protocol"
        raise ValueError(f"judge.engine=null: {what} needs a judge; name an engine of the section engines")
    return judge
