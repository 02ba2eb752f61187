"""Trajectories of our own banks as recorded runs.

Contract: :func:`bank_jobs` pairs each trajectory with its task, found by the digest, so a task that has changed is not
replayed. What cannot be replayed is counted by reason, never silently dropped. The replay needs the protocol of the
trajectories, because the wording of observations is compared, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rollout.bank.trajectory import Message, Trajectory
from rollout.checks.replay.recorded import RecordedRun, RecordedTurn, Said
from rollout.checks.replay.tasks import Job
from rollout.families.base import Task
from rollout.protocol import EpisodeProtocol


def bank_jobs(
    trajectories: Iterable[Trajectory], tasks: Iterable[Task], protocol: EpisodeProtocol
) -> tuple[list[Job], Counter[str]]:
    """Each trajectory that can be replayed, with its task; and the number of others by reason.

    Args:
        trajectories: of one bank.
        tasks: those that the bank was collected from.
        protocol: that of the collection.
    """
    known = {task.ref.digest: task for task in tasks}
    jobs: list[Job] = []
    others: Counter[str] = Counter()
    for record in trajectories:
        task = known.get(record.task.digest)
        if record.protocol != protocol.ref:
            others["another protocol"] += 1
        elif task is None:
            others["its task is not among those of the configuration"] += 1
        elif record.lost or record.branch is not None:
            others["lost to the infrastructure" if record.lost else "a branch of another episode"] += 1
        else:
            jobs.append((_run(record, protocol), task))
    return jobs, others


def _run(record: Trajectory, protocol: EpisodeProtocol) -> RecordedRun:
    """A trajectory as a recorded run. Its reference stays with the task."""
    said = [
        number
        for number, message in enumerate(record.messages)
        if message.role == "assistant" and message.kind != "instruction"
    ]
    return RecordedRun(
        family=record.task.family,
        task_id=record.task.id,
        model=record.model,
        success=record.outcome.success,
        ended=record.outcome.reason,
        prompt=next((message.content for message in record.messages if message.kind == "task"), ""),
        reference=None,
        turns=tuple(_turn(record.messages[number:], record.outcome.success, protocol) for number in said),
        form=protocol.form,
        sample=record.seed,
    )


def _turn(messages: Sequence[Message], success: bool, protocol: EpisodeProtocol) -> RecordedTurn:
    """The first message, an assistant turn, with the reply to it."""
    turn, reply = messages[0], messages[1] if len(messages) > 1 else None
    verdict: Said | None = None
    if turn.kind == "proposal":
        verdict = "right" if reply is None and success else "wrong"
    return RecordedTurn(
        text=turn.content,
        observation=reply.content if reply else None,
        proposed=protocol.parse(turn.content).body if verdict else None,
        verdict=verdict,
        calls=turn.tool_calls or (),
    )
