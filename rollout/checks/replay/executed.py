"""The report of executed runs: verdicts of our episodes and outputs of our cells, beside the recorded ones.

Contract: pure. A run agrees when our episode succeeds exactly if the recorded one did. Outputs are compared turn by
turn up to the end of the shorter episode (:mod:`rollout.checks.replay.observations`).
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rollout.bank.trajectory import Message, Trajectory
from rollout.checks.replay.execute import GAMES, ReplayOptions, execute, replay_id
from rollout.checks.replay.games import COMMANDS, reference_calls_it_won
from rollout.checks.replay.grade import GradedRun, grade
from rollout.checks.replay.graders_only import disagreement_of, half_of
from rollout.checks.replay.observations import EQUAL, NORMALISED, compare
from rollout.checks.replay.recorded import RecordedRun, RecordedTurn
from rollout.checks.replay.report import (
    HALVES,
    Disagreement,
    FamilyReport,
    Half,
    HalfName,
    Observations,
    ReplayReport,
    grouped,
    summed,
)
from rollout.checks.replay.tasks import Job
from rollout.protocol import EpisodeProtocol


def replay_runs(
    jobs: Sequence[Job], bank: Path, options: ReplayOptions, missing: Mapping[str, str] | None = None
) -> ReplayReport:
    """Executes runs (:func:`rollout.checks.replay.execute.execute`) and reports. Shows its progress on standard error.

    Args:
        jobs: runs with their tasks (:func:`rollout.checks.replay.tasks.tasks_of`).
        bank: folder of the replayed trajectories.
        options: how episodes are run.
        missing: family → why its runs are not among the jobs.

    Raises:
        ValueError: another process writes the bank.
        SandboxError: this machine cannot run kernels.
    """
    from rollout.workers.progress import progress  # its package imports Ray

    started, succeeded = time.monotonic(), 0
    with progress("replay", len(jobs)) as advance:

        def count(trajectory: Trajectory) -> None:
            nonlocal succeeded
            succeeded += trajectory.outcome.success
            advance(f"{succeeded} solved")

        trajectories = execute(jobs, bank, options, count)
    return report_executed(jobs, trajectories, missing or {}, options.protocol, time.monotonic() - started)


def report_executed(
    jobs: Sequence[Job],
    trajectories: Mapping[str, Trajectory],
    missing: Mapping[str, str],
    protocol: EpisodeProtocol,
    seconds: float = 0.0,
) -> ReplayReport:
    """Compares trajectories with the runs that drove them.

    Args:
        jobs: runs with their tasks.
        trajectories: by id; a job without one was lost to the infrastructure.
        missing: family → why its runs could not be executed.
        protocol: of the episodes.
        seconds: how long the episodes took.
    """
    halves: dict[str, dict[HalfName, Counter[str]]] = defaultdict(lambda: {half: Counter() for half in HALVES})
    outputs: dict[str, Counter[str]] = defaultdict(Counter)
    differing: list[tuple[Job, Trajectory]] = []
    for job in jobs:
        run = job[0]
        count = halves[run.family][half_of(run)]
        count["runs"] += 1
        trajectory = trajectories.get(replay_id(job, protocol))
        if trajectory is None:
            continue
        outputs[run.family].update(output_reasons(run, trajectory))
        count["compared"] += 1
        if trajectory.outcome.success == run.success:
            count["agree"] += 1
            count["legacy_agree"] += run.family != GAMES or reference_calls_it_won(trajectory) == run.success
        else:
            differing.append((job, trajectory))
    judged = grade([job for job, _ in differing])
    found = [_disagreement(one, trajectory) for one, (_, trajectory) in zip(judged, differing, strict=True)]
    for one, different in zip(judged, found, strict=True):
        count = halves[one.run.family][half_of(one.run)]
        count["explained"] += different.explained
        count["legacy_agree"] += different.explained
    families = {
        name: FamilyReport(
            halves={half: Half(**halves[name][half]) for half in HALVES},
            observations=_observations(outputs[name]),
            note=missing.get(name, ""),
        )
        for name in sorted({*halves, *missing})
    }
    return ReplayReport(
        mode="executed",
        protocol=f"{protocol.name} {protocol.ref.digest}",
        seconds=round(seconds, 1),
        families=families,
        total={half: summed([family.halves[half] for family in families.values()]) for half in HALVES},
        disagreements=tuple(found),
        groups=grouped(tuple(found)),
    )


def output_reasons(run: RecordedRun, trajectory: Trajectory) -> Iterator[str]:
    """``equal``, ``normalised`` or a reason for each cell that both episodes show the output of."""
    for turn, ours in zip(run.turns, _replies(trajectory), strict=False):
        if ours is None or ours.kind != "observation" or not _is_output(turn):
            continue
        error = ours.cell.error_name if ours.cell else None
        yield compare(turn.observation or "", ours.content, turn.code, error)


def _is_output(turn: RecordedTurn) -> bool:
    return turn.observation is not None and turn.understood and "<solution>" not in turn.text


def _replies(trajectory: Trajectory) -> Iterator[Message | None]:
    """The message after each assistant turn; None at the end."""
    messages = trajectory.messages
    for number, message in enumerate(messages):
        if message.role == "assistant" and message.kind != "instruction":
            yield messages[number + 1] if number + 1 < len(messages) else None


def _observations(reasons: Counter[str]) -> Observations:
    different = {reason: count for reason, count in reasons.most_common() if reason not in (EQUAL, NORMALISED)}
    return Observations(
        compared=reasons.total(), equal=reasons[EQUAL], normalised=reasons[NORMALISED], different=different
    )


def _disagreement(graded: GradedRun, trajectory: Trajectory) -> Disagreement:
    """Why a run ended otherwise here: the graders differ, else the episode does."""
    run, outcome = graded.run, trajectory.outcome
    by_graders = disagreement_of(graded)
    if by_graders is not None:
        return by_graders
    verdict = legacy = "right" if outcome.success else "wrong"
    legacy_reason = ""
    if outcome.error is not None and not outcome.success and not _only_ended(trajectory):
        reason = f"error of the {outcome.error.kind}: {outcome.error.message}"
    elif outcome.success and any(_unclosed(turn) for turn in run.turns):
        reason = "a <solution> that is not closed counts as an answer here"
    elif run.family == GAMES and run.success:
        reason = "the goal of the game is not reached here"
        if reference_calls_it_won(trajectory):
            legacy, legacy_reason = "right", f"a game that reaches its limit of {COMMANDS} commands counts as won"
    else:
        reason = f"our episode ended with {outcome.reason} after {trajectory.usage.steps} turns"
    return Disagreement(
        run=run.id,
        half=half_of(run),
        recorded="right" if run.success else "wrong",
        ours=verdict,
        legacy=legacy,
        reason=reason,
        legacy_reason=legacy_reason,
    )


def _only_ended(trajectory: Trajectory) -> bool:
    """Whether the recording had no further turn."""
    error = trajectory.outcome.error
    return error is not None and error.kind == "model"


def _unclosed(turn: RecordedTurn) -> bool:
    return "<solution>" in turn.text and turn.proposed is None
