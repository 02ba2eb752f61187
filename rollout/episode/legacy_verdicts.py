"""The reference system's verdicts beside ours, for the answers of an episode that has ended."""

from __future__ import annotations

from rollout.bank.trajectory import GivenVerdict, Trajectory
from rollout.families.base import Task
from rollout.graders import judge_async
from rollout.graders.legacy import LEGACY
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol


async def with_legacy_verdicts(
    trajectory: Trajectory, task: Task, protocol: EpisodeProtocol, kernels: KernelSource
) -> Trajectory:
    """The trajectory with the reference's verdict on each answer; a grader that has none there keeps ours.

    Args:
        trajectory: a finished episode.
        task: the task of the episode, whose answer may be too long to be stored.
        protocol: says what a turn proposes.
        kernels: for graders that run code.
    """
    grading = trajectory.grading
    if grading is None:
        return trajectory
    proposals = [message.content for message in trajectory.messages if message.kind == "proposal"]
    verdicts: list[GivenVerdict] = []
    for number, given in enumerate(grading.verdicts):  # an answer without a verdict ends an episode
        kind = given.kind
        if grading.grader in LEGACY:
            proposed = given.proposed
            if proposed is None:
                proposed = protocol.parse(proposals[number]).body
            kind = (await judge_async(grading.grader, proposed, task.answer, legacy=True, kernels=kernels)).kind
        verdicts.append(given.model_copy(update={"legacy": kind}))
    return trajectory.model_copy(update={"grading": grading.model_copy(update={"verdicts": tuple(verdicts)})})
