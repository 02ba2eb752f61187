"""The report of graders alone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from rollout.checks.replay.grade import GradedRun, grade
from rollout.checks.replay.recorded import RecordedRun
from rollout.checks.replay.report import (
    HALVES,
    Disagreement,
    FamilyReport,
    Half,
    HalfName,
    ReplayReport,
    grouped,
    summed,
)
from rollout.families.base import Task

GAMES_NEED_EXECUTION = "a game that is won has no answer; its runs are compared when they are executed"


def replay_graders(runs: Sequence[tuple[RecordedRun, Task]], threads: int = 4) -> ReplayReport:
    """Judges every recorded proposal again (:func:`rollout.checks.replay.grade.grade`) and counts."""
    started = time.monotonic()
    families: dict[str, dict[HalfName, list[GradedRun]]] = defaultdict(lambda: {half: [] for half in HALVES})
    for graded in grade(runs, threads):
        families[graded.run.family][half_of(graded.run)].append(graded)
    reports = {
        name: FamilyReport(
            halves={half: _count(halves[half]) for half in HALVES},
            note=GAMES_NEED_EXECUTION if any(map(_is_won_game, halves["successful"])) else "",
        )
        for name, halves in sorted(families.items())
    }
    found = tuple(
        disagreement
        for _, halves in sorted(families.items())
        for half in HALVES
        for graded in halves[half]
        if (disagreement := disagreement_of(graded))
    )
    return ReplayReport(
        mode="graders",
        seconds=round(time.monotonic() - started, 1),
        families=reports,
        total={half: summed([report.halves[half] for report in reports.values()]) for half in HALVES},
        disagreements=found,
        groups=grouped(found),
    )


def half_of(run: RecordedRun) -> HalfName:
    """The half that a run belongs to."""
    return "successful" if run.success else "failed"


def disagreement_of(graded: GradedRun) -> Disagreement | None:
    """The proposal of a run about which ours and the record differ, if there is one."""
    said = graded.difference
    if said is None:
        return None
    return Disagreement(
        run=graded.run.id,
        half=half_of(graded.run),
        recorded=said.recorded,
        ours=said.ours.kind,
        legacy=said.legacy.kind,
        reason=said.ours.reason,
        legacy_reason=said.legacy.reason,
        proposed=said.proposed[-200:],
    )


def _is_won_game(graded: GradedRun) -> bool:
    return graded.run.success and not graded.proposals


def _count(found: list[GradedRun]) -> Half:
    compared = [graded for graded in found if not _is_won_game(graded)]
    return Half(
        runs=len(found),
        compared=len(compared),
        agree=sum(graded.agrees for graded in compared),
        explained=sum(not graded.agrees and _explained(graded) for graded in compared),
        legacy_agree=sum(graded.legacy_agrees for graded in compared),
    )


def _explained(graded: GradedRun) -> bool:
    found = disagreement_of(graded)
    return found is not None and found.explained
