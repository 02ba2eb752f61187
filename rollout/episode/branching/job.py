"""Branches as work for the rollout workers: one job for all branches of an episode."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from rollout.bank.trajectory import Branch, Sampling, Trajectory, digest_of, trajectory_id
from rollout.engines.judge import JudgeSpec
from rollout.engines.spec import EngineSpec
from rollout.episode.branching.point import At, first_error
from rollout.families.base import Task
from rollout.protocol import EpisodeProtocol


@dataclass(frozen=True)
class BranchJob:
    """Several continuations of one episode from one point; they share one restored state.

    Attributes:
        parent: the episode.
        turn: index of the first message that is the branches' own.
        seeds: one for each branch.
    """

    task: Task
    engine: EngineSpec
    sampling: Sampling
    parent: Trajectory
    turn: int
    seeds: tuple[int, ...]
    judge: JudgeSpec | None = None

    @property
    def branch(self) -> Branch:
        """Where the branches leave their parent."""
        return Branch(parent=self.parent.id, turn=self.turn)

    def draws(self, seed: int) -> Sampling:
        """The sampling of one branch."""
        return self.sampling.model_copy(update={"seed": seed})

    def ids(self, protocol: EpisodeProtocol) -> dict[str, int]:
        """Id of each branch's trajectory → its seed."""
        judge = self.judge.name if self.judge else None
        return {
            trajectory_id(
                self.task.ref, self.engine.name, self.draws(seed), protocol.ref, seed, judge=judge, branch=self.branch
            ): seed
            for seed in self.seeds
        }

    def without(self, done: Collection[str], protocol: EpisodeProtocol) -> BranchJob | None:
        """The job with the branches that are not done; None when there are none."""
        seeds = tuple(seed for id, seed in self.ids(protocol).items() if id not in done)
        return replace(self, seeds=seeds) if seeds else None


def repair_jobs(
    parents: Iterable[tuple[Trajectory, Task]],
    engine: EngineSpec,
    sampling: Sampling,
    samples: int,
    at: At,
    judge: JudgeSpec | None = None,
) -> list[BranchJob]:
    """First-error repair: branches of the failed episodes in which a cell failed, at that cell.

    The seeds of branches differ from those of their parents, so that a branch before the failing turn does not draw
    the same turn again.

    Args:
        samples: branches of each episode.
        at: see :func:`rollout.episode.branching.first_error`.
    """
    jobs = []
    for parent, task in parents:
        if parent.outcome.success or parent.lost or parent.branch is not None:
            continue
        turn = first_error(parent, at)
        if turn is not None:
            seeds = tuple(int(digest_of([parent.id, turn, sample], 7), 16) for sample in range(samples))
            jobs.append(BranchJob(task, engine, sampling, parent, turn, seeds, judge))
    return jobs
