"""Graders alone: every recorded proposal is judged, and the verdicts are compared with the recorded ones.

Contract: :func:`grade` runs no cell and no episode. The same proposal to the same task is judged once. Verdicts of the
reference's rule (:data:`rollout.graders.legacy.LEGACY`) stand beside ours. Cost: microseconds a proposal for texts; a
process for each proposal with unit tests, so threads judge those side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rollout.families.base import Task
from rollout.graders import Verdict, judge
from rollout.graders.legacy import LEGACY
from rollout.replay.recorded import RecordedRun, Said


@dataclass(frozen=True)
class JudgedProposal:
    """One proposal with three verdicts: the recorded one, ours, and that of the reference's rule."""

    proposed: str
    recorded: Said
    ours: Verdict
    legacy: Verdict


@dataclass(frozen=True)
class GradedRun:
    """A run and its judged proposals, in order."""

    run: RecordedRun
    proposals: tuple[JudgedProposal, ...]

    @property
    def agrees(self) -> bool:
        """Whether each of our verdicts is the recorded one."""
        return all(said.ours.kind == said.recorded for said in self.proposals)

    @property
    def legacy_agrees(self) -> bool:
        """The same for the reference's rule."""
        return all(said.legacy.kind == said.recorded for said in self.proposals)

    @property
    def difference(self) -> JudgedProposal | None:
        """The first proposal about which ours and the record differ; one that the reference's rule explains comes last."""
        differ = [said for said in self.proposals if said.ours.kind != said.recorded]
        return next((said for said in differ if said.legacy.kind != said.recorded), differ[0] if differ else None)


_Question = tuple[str, str, str]


def grade(runs: Sequence[tuple[RecordedRun, Task]], threads: int = 4) -> list[GradedRun]:
    """Judges the proposals of runs.

    Args:
        runs: each run with its task.
        threads: proposals that are judged at once.
    """
    questions = {
        (task.grader, proposed, task.answer): None for run, task in runs for proposed, _ in run.proposals
    }
    with ThreadPoolExecutor(threads) as pool:
        verdicts = dict(zip(questions, pool.map(_judged, questions), strict=True))
    return [_graded(run, task, verdicts) for run, task in runs]


def _judged(question: _Question) -> tuple[Verdict, Verdict]:
    grader, proposed, answer = question
    ours = judge(grader, proposed, answer)
    rule = LEGACY.get(grader)
    return ours, rule(proposed, answer) if rule else ours


def _graded(run: RecordedRun, task: Task, verdicts: dict[_Question, tuple[Verdict, Verdict]]) -> GradedRun:
    judged = []
    for proposed, recorded in run.proposals:
        ours, legacy = verdicts[task.grader, proposed, task.answer]
        judged.append(JudgedProposal(proposed, recorded, ours, legacy))
    return GradedRun(run, tuple(judged))


