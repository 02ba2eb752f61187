"""Graders alone: every recorded proposal is judged, and the verdicts are compared with the recorded ones.

Contract: :func:`grade` runs no cell and no episode. The same proposal to the same task is judged once. Verdicts of the
reference's rule (:data:`rollout.graders.legacy.LEGACY`) stand beside ours. Cost: microseconds a proposal for texts; a
process for each proposal with unit tests, so threads judge those side by side.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rollout.checks.replay.recorded import RecordedRun, RecordedTurn, Said
from rollout.families.base import Task
from rollout.graders import Verdict, judge
from rollout.graders.legacy import LEGACY
from rollout.protocol.turns import Form, parse_turn


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
        """The first proposal about which ours and the record differ, if possible one that is not explained."""
        differ = [said for said in self.proposals if said.ours.kind != said.recorded]
        return next((said for said in differ if said.legacy.kind != said.recorded), differ[0] if differ else None)


_Question = tuple[str, str, str, str]
"""Grader, what our loop reads as the answer, what the record does, and the reference."""


def grade(runs: Sequence[tuple[RecordedRun, Task]], threads: int = 4) -> list[GradedRun]:
    """Judges the proposals of runs.

    Args:
        runs: each run with its task.
        threads: proposals that are judged at once.
    """
    asked = [[_question(task, turn, run.form) for turn in run.turns if turn.verdict] for run, task in runs]
    questions = dict.fromkeys(question for run in asked for question in run)
    with ThreadPoolExecutor(threads) as pool:
        verdicts = dict(zip(questions, pool.map(_judged, questions), strict=True))
    return [
        GradedRun(run, tuple(map(_proposal, run.proposals, (verdicts[question] for question in found))))
        for (run, _), found in zip(runs, asked, strict=True)
    ]


def _question(task: Task, turn: RecordedTurn, form: Form) -> _Question:
    return task.grader, parse_turn(turn.text, form).body, turn.proposed or "", task.answer


def _judged(question: _Question) -> tuple[Verdict, Verdict]:
    grader, ours, recorded, answer = question
    verdict = judge(grader, ours, answer)
    alone = grader == "unit_tests" and not json.loads(answer)["before"]
    if grader not in LEGACY or (alone and ours == recorded):  # the same rule
        return verdict, verdict
    return verdict, judge(grader, recorded, answer, legacy=True)


def _proposal(said: tuple[str, Said], verdicts: tuple[Verdict, Verdict]) -> JudgedProposal:
    return JudgedProposal(*said, *verdicts)
