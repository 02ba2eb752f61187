"""The environment of a conversation: the user asks, the model answers, and the user asks the next question.

Contract: the questions are the task's prompt and its ``followups``. Each turn of the model is its answer, without the
thoughts in it; a turn without any is an empty answer. Nothing runs, and no kernel is used. After the last answer the
task's grader judges each answer with those before it, all at once: it gets a JSON list of the answers so far. The
reward is the mean over the questions, and the verdicts keep that of each answer. The episode is solved when every
answer is right. When the context is full, the answers so far are judged, and those that are missing have no reward.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rollout.bank.trajectory import Grading, Message, Outcome, Reason
from rollout.codeact.verdicts import Verdicts
from rollout.environment import Action, Budget, EnvironmentFault, Observation, ended
from rollout.families.base import Task
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol


class ConversationEnvironment:
    """A task with several questions, under a protocol of the form ``answer``."""

    tools: Mapping[str, Callable[..., Any]] = {}

    def __init__(self, task: Task, kernels: KernelSource, protocol: EpisodeProtocol) -> None:
        self._task, self._kernels, self._protocol = task, kernels, protocol
        self._answers: list[str] = []
        self._verdicts = Verdicts(task, kernels)
        self.judging = False
        """Whether every answer is there and the grader is at work: what takes time then is not the model's."""

    @property
    def grading(self) -> Grading | None:
        """The verdict on each answer, with what is needed to judge again; None before the last answer."""
        return self._verdicts.grading

    @property
    def reference(self) -> str:
        """The task's answer, for a judge that gives feedback."""
        return self._task.answer

    def prompt(self) -> Sequence[Message]:
        """The first question as it is, after the protocol's instructions when it has some."""
        question = Message(role="user", kind="task", content=self._task.prompt)
        if not self._protocol.instructions:
            return (question,)
        return (Message(role="system", kind="instruction", content=self._protocol.system({})), question)

    async def reset(self) -> None:
        """Nothing to prepare.

        Raises:
            EnvironmentFault: the protocol has another form, or too few turns.
        """
        try:
            self._protocol.check_task(self._task.id, self._task.choices, 1 + len(self._task.followups))
        except ValueError as fault:
            raise EnvironmentFault("task", str(fault)) from None

    def parse(self, text: str) -> Action:
        """The turn as an answer, perhaps an empty one."""
        return Action("proposal", self._protocol.parse(text).body)

    async def step(self, action: Action, budget: Budget) -> Observation | Outcome:
        """The next question, or after the last one the outcome."""
        self._answers.append(action.body)
        answered = len(self._answers)
        if answered <= len(self._task.followups):
            return Observation(self._task.followups[answered - 1], "feedback")
        return await self._judged()

    async def end_early(self, reason: Reason) -> Outcome:
        """The outcome when the model can write no more, as with a full context: what is missing has no reward."""
        return await self._judged(reason)

    async def _judged(self, reason: Reason | None = None) -> Outcome:
        questions = 1 + len(self._task.followups)
        proposed = [json.dumps(self._answers[: end + 1], ensure_ascii=False) for end in range(len(self._answers))]
        self.judging = True
        verdicts = await self._verdicts.judge_all(proposed)
        self.judging = False
        solved = all(given.kind == "right" for given in verdicts)
        reward = sum(given.reward for given in verdicts) / questions
        return ended(reason or ("solved" if solved else "wrong_answer"), reward)

    async def close(self) -> None:
        """Nothing to release."""
