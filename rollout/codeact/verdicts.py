"""What an environment does with the verdicts of its task's grader: it keeps them, and ends the episode by them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rollout.bank.trajectory import GivenVerdict, Grading, Outcome
from rollout.environment import EnvironmentFault, ended
from rollout.families.base import Task
from rollout.graders import Verdict, judge_async
from rollout.kernel_source import KernelSource

LONGEST_REFERENCE = 64 * 1024
"""Characters of a reference that is stored with each trajectory."""


class Verdicts:
    """The verdicts of one episode, in the order of its answers.

    ``kernels``: where graders run code.
    """

    def __init__(self, task: Task, kernels: KernelSource) -> None:
        self._task, self._kernels = task, kernels
        self._given: tuple[GivenVerdict, ...] = ()

    @property
    def grading(self) -> Grading | None:
        """The verdicts so far, with what is needed to judge again; None before the first."""
        if not self._given:
            return None
        reference = self._task.answer if len(self._task.answer) <= LONGEST_REFERENCE else None
        return Grading(grader=self._task.grader, reference=reference, verdicts=self._given)

    async def judge(self, proposed: str, *, store: bool = True) -> Verdict:
        """The grader's verdict on an answer. ``store``: keep the answer's text, which may stand elsewhere.

        Raises:
            EnvironmentFault: the grader has no verdict.
        """
        (verdict,) = await self.judge_all([proposed], store=store)
        return verdict

    async def judge_all(self, proposed: Sequence[str], *, store: bool = True) -> list[Verdict]:
        """The verdicts on several answers, which the grader judges at once.

        Raises:
            EnvironmentFault: the grader has no verdict on one of them.
        """
        task = self._task
        verdicts = await asyncio.gather(
            *(judge_async(task.grader, one, task.answer, kernels=self._kernels) for one in proposed)
        )
        self._given += tuple(
            GivenVerdict(kind=one.kind, reason=one.reason, reward=one.reward, proposed=text if store else None)
            for one, text in zip(verdicts, proposed, strict=True)
        )
        for number, one in enumerate(verdicts, 1):
            if one.kind == "none":
                which = f", answer {number}" if len(verdicts) > 1 else ""
                message = f"grader {task.grader} of {task.id}{which}: {one.reason}"
                raise EnvironmentFault(one.fault or "task", message)
        return verdicts


def outcome_of(verdict: Verdict) -> Outcome:
    """The outcome of an episode whose only answer has this verdict."""
    return ended("solved" if verdict.kind == "right" else "wrong_answer", verdict.reward)
