"""The interface between the episode loop and the world that an agent acts in.

Contract: the loop (:mod:`rollout.episode.loop`) records turns, counts them and enforces the protocol's limits. An
:class:`Environment` says what the model reads and what its actions do: it writes the prompt, parses a turn into an
:class:`Action` and answers it with an :class:`Observation` or an ``Outcome``. Other action formats
(JSON, plain text) and simulators are other environments. The code-writing agent is :mod:`rollout.codeact.environment`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from rollout.bank.trajectory import CellOutcome, Message, Outcome, Reason, ToolCall


@dataclass(frozen=True)
class Action:
    """What the model did in a turn: it acted (ran code, made a move), proposed an answer, or did neither."""

    kind: Literal["action", "proposal", "invalid"]
    body: str = ""
    calls: tuple[ToolCall, ...] = ()
    """Calls of functions in place of code, when the protocol asks for them."""


@dataclass(frozen=True)
class Budget:
    """What the limits of the protocol leave after the current turn."""

    steps_left: int
    proposals_left: int
    invalid_left: int = 0


@dataclass(frozen=True)
class Observation:
    """The next user message for the model."""

    content: str
    kind: Literal["task", "observation", "feedback"] = "observation"
    cell: CellOutcome | None = None
    """How the cell of this step ended, when the step ran one."""
    reward: float = 0.0
    """Reward of this step. The rewards of an episode's steps and of its outcome add up."""
    results: tuple[str, ...] | None = None
    """Result of each native call of the turn; the content joins them."""
    outcome: Outcome | None = None
    """Ends the episode after this step, which is counted; the content is not added to the conversation."""


class Environment(Protocol):
    """One task in progress. Calls: ``prompt``, ``reset``, then ``parse`` and ``step`` each turn, at last ``close``."""

    tools: Mapping[str, Callable[..., Any]]
    """Functions that the model may call, for the prompt; empty when there are none."""

    def prompt(self) -> Sequence[Message]:
        """The messages before the first observation. Pure: they are recorded even when :meth:`reset` fails."""

    async def reset(self) -> Observation | None:
        """Prepares the initial state. Returns the first observation, or None when the prompt says everything.

        Raises:
            EnvironmentFault: the state cannot be prepared.
            SandboxError: there is no kernel.
        """

    def parse(self, text: str) -> Action:
        """The action in an assistant turn; its kind is recorded with the message."""

    async def step(self, action: Action, budget: Budget) -> Observation | Outcome:
        """Applies an action. An outcome ends the episode. Raises as :meth:`reset` does."""

    async def close(self) -> None:
        """Releases everything. Also called after a failed or cancelled :meth:`reset`."""


class EnvironmentFault(Exception):
    """The environment cannot go on. ``kind`` is ``infra`` (worth a retry) or ``task`` (the task itself is broken)."""

    def __init__(self, kind: Literal["infra", "task"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


class CannotForkError(Exception):
    """An environment cannot be copied in its present state; the message is the reason in one sentence."""


@runtime_checkable
class ForkingEnvironment(Protocol):
    """An environment that can be copied in the middle of an episode, for branches of it."""

    async def fork(self) -> Environment:
        """A second environment in the present state; both go on independently, and both are closed.

        Raises:
            CannotForkError: this one cannot be copied; play the episode again instead.
            SandboxError: the kernel failed.
        """


def ended(reason: Reason, reward: float | None = None) -> Outcome:
    """The outcome for a reason. The reward is 1 when solved, else 0, unless it is given."""
    solved = reason == "solved"
    return Outcome(success=solved, reward=float(solved if reward is None else reward), reason=reason)
