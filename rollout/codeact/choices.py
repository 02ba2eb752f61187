"""The environment of questions whose answer is the most probable of given texts.

Contract: an episode has one turn, for which the loop asks the engine how probable each of the task's choices is after
the prompt. Under ``choice_text`` the prompt is plain text: a message that is not rendered with a chat template. Under
``choice`` it is a chat, and the last line of the task's prompt, such as ``Answer:``, begins the assistant's turn. The
verdict is that of the task's grader on the chosen text. No kernel is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.bank.trajectory import Grading, Message, Outcome
from rollout.codeact.verdicts import Verdicts, outcome_of
from rollout.environment import Action, Budget, EnvironmentFault, Observation, ended
from rollout.families.base import Task
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol


@dataclass(frozen=True)
class Choices:
    """What an engine is asked (:class:`rollout.engines.ScoringEngine`): the prompt, and the texts that may follow."""

    prompt: str | Sequence[Message]
    texts: tuple[str, ...]


class ChoiceEnvironment:
    """A task with choices, under a protocol of the forms ``choice``."""

    tools: Mapping[str, Callable[..., Any]] = {}

    def __init__(self, task: Task, kernels: KernelSource, protocol: EpisodeProtocol) -> None:
        self._task, self._kernels, self._protocol = task, kernels, protocol
        self._verdicts = Verdicts(task, kernels)
        plain = protocol.form == "choice_text"
        self._question, _, self._lead = (task.prompt, "", "") if plain else task.prompt.rpartition("\n")

    @property
    def choices(self) -> Choices:
        """The texts to choose from; a chat's begin with the last line of the prompt."""
        texts = tuple(f"{self._lead}{choice}" for choice in self._task.choices)
        return Choices(self._question if self._protocol.form == "choice_text" else self.prompt(), texts)

    @property
    def grading(self) -> Grading | None:
        """The verdict, with what is needed to judge again; None before a choice."""
        return self._verdicts.grading

    @property
    def reference(self) -> str:
        """The right answer, for a judge that gives feedback."""
        return self._task.solution or self._task.answer

    def prompt(self) -> Sequence[Message]:
        """The question, in a chat after the protocol's instructions when it has some."""
        question = Message(role="user", kind="task", content=self._question)
        if self._protocol.form == "choice_text" or not self._protocol.instructions:
            return (question,)
        return (Message(role="system", kind="instruction", content=self._protocol.instructions), question)

    async def reset(self) -> None:
        """Nothing to prepare.

        Raises:
            EnvironmentFault: the task has no choices.
        """
        try:
            self._protocol.check_task(self._task.id, self._task.choices)
        except ValueError as fault:
            raise EnvironmentFault("task", str(fault)) from None

    def parse(self, text: str) -> Action:
        """The chosen text, without the line that begins the assistant's turn."""
        return self._protocol.parse(text.removeprefix(self._lead))

    async def step(self, action: Action, budget: Budget) -> Observation | Outcome:
        """Grades the chosen text."""
        if action.kind != "proposal":
            return ended("max_invalid")
        return outcome_of(await self._verdicts.judge(action.body))

    async def close(self) -> None:
        """Nothing to release."""
