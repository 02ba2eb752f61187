"""The episode loop: model ⇄ environment, from a task's prompt to its outcome.

Contract: :func:`run_episode` returns a trajectory even when the episode fails: a failed episode is data. Its error says
who failed: ``infra`` (server, kernel or actor: worth a retry), ``model`` (the engine refuses) or ``task`` (the task is
broken). Any other exception of an engine is ``infra``, and so is a deadline more than half of which went into waiting
for one completion. What actions do and how answers are graded is the environment's part
(:mod:`rollout.environment`).
"""

from __future__ import annotations

import asyncio
import datetime
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from rollout.bank.trajectory import (
    Branch,
    EpisodeError,
    ErrorKind,
    Grading,
    Message,
    MessageKind,
    Outcome,
    Reason,
    Role,
    Sampling,
    Trajectory,
    Usage,
    trajectory_id,
)
from rollout.codeact.choices import ChoiceEnvironment
from rollout.codeact.conversation import ConversationEnvironment
from rollout.codeact.environment import CodeActEnvironment
from rollout.engines.base import Completion, ContextFull, Engine, EngineError, EngineRefused
from rollout.engines.judge import Judge, judge_usage, judging
from rollout.environment import Action, Budget, Environment, EnvironmentFault, Observation, ended
from rollout.episode.asking import next_turn
from rollout.episode.user_feedback import with_feedback
from rollout.families.base import Task
from rollout.kernel_source import KernelSource
from rollout.protocol import CHOICE_FORMS, EpisodeProtocol
from sandbox import SandboxError

EndEarly = Callable[[Reason], Awaitable[Outcome]]
"""What an environment may have: the outcome when the model can write no more and some of its work counts."""


@dataclass(frozen=True)
class Assignment:
    """What is worked on, by whom, under which rules: everything that the id of a trajectory is made of.

    Attributes:
        task: what to do, and in which environment.
        engine: completes the chat; called once a turn.
        protocol: wording and limits.
        sampling: how completions are drawn.
        seed: stored, part of the trajectory's identity.
        judge: the engine that grades by a rubric or gives feedback, when the task or the protocol needs one.
        branch: where the episode leaves its parent.
    """

    task: Task
    engine: Engine
    protocol: EpisodeProtocol
    sampling: Sampling
    seed: int = 0
    judge: Judge | None = None
    branch: Branch | None = None

    @cached_property
    def id(self) -> str:
        """The id of the trajectory."""
        judge = self.judge.spec.name if self.judge else None
        return trajectory_id(
            self.task.ref, self.engine.name, self.sampling, self.protocol.ref, self.seed,
            judge=judge, branch=self.branch,
        )  # fmt: skip


@dataclass
class Transcript:
    """The episode so far: messages, usage and rewards of its steps."""

    messages: list[Message] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Usage.model_fields, 0))
    reward: float = 0.0
    asked_at: float | None = None
    """When the completion was asked for that has not come yet."""
    grading: Grading | None = None
    """How the answers were graded, from the environment at its end."""
    judging: bool = False
    """Whether the episode ended while every answer was there and a judge was asked about them."""
    earned: float | None = None
    """Reward of an environment that says what the episode has earned, from its end."""

    def add(self, role: Role, kind: MessageKind, content: str, **extra: Any) -> None:
        self.messages.append(Message(role=role, kind=kind, content=content, **extra))

    async def begin(self, environment: Environment) -> None:
        """Adds the prompt and the first observation. Raises as :meth:`Environment.reset` does."""
        self.messages.extend(environment.prompt())
        first = await environment.reset()
        if first is not None:
            self.observe(first)

    def copy(self) -> Transcript:
        """A transcript that goes on independently."""
        return Transcript(list(self.messages), dict(self.usage), self.reward)

    def observe(self, observation: Observation) -> None:
        self.add(
            "user",
            observation.kind,
            observation.content,
            cell=observation.cell,
            tool_results=observation.results,
        )

    def count(self, **amounts: int) -> None:
        for name, amount in amounts.items():
            self.usage[name] += amount

    def budget(self, protocol: EpisodeProtocol) -> Budget:
        return Budget(
            steps_left=protocol.max_steps - self.usage["steps"],
            proposals_left=protocol.max_proposals - self.usage["proposals"],
            invalid_left=protocol.max_invalid - self.usage["invalid"],
        )


async def run_episode(
    task: Task,
    engine: Engine,
    kernels: KernelSource,
    protocol: EpisodeProtocol,
    sampling: Sampling,
    seed: int = 0,
    judge: Judge | None = None,
) -> Trajectory:
    """Works on a task until it is solved or a limit is reached. The arguments are those of :class:`Assignment`.

    Args:
        kernels: where the episode's kernel comes from.
    """
    work, transcript = Assignment(task, engine, protocol, sampling, seed, judge), Transcript()

    async def converse() -> Outcome:
        return await _converse(work, transcript, open_environment(task, kernels, protocol), begin=True)

    return await _recorded(work, transcript, kernels.tier, converse())


async def continue_episode(
    work: Assignment, transcript: Transcript, environment: Environment, isolation: str
) -> Trajectory:
    """Works on from the middle of a conversation: ``environment`` is in the state that ``transcript`` describes.

    The environment is closed at the end.
    """
    return await _recorded(work, transcript, isolation, _converse(work, transcript, environment, begin=False))


def open_environment(task: Task, kernels: KernelSource, protocol: EpisodeProtocol) -> Environment:
    """The environment of a task, before its reset."""
    if task.environment is not None:
        return task.environment(task, kernels, protocol)
    if protocol.form in CHOICE_FORMS:
        return ChoiceEnvironment(task, kernels, protocol)
    return (ConversationEnvironment if task.followups else CodeActEnvironment)(task, kernels, protocol)


async def _converse(work: Assignment, transcript: Transcript, environment: Environment, begin: bool) -> Outcome:
    """The turns of an episode, after its prompt and first observation if it is to ``begin``. Closes the environment."""
    try:
        if begin:
            await transcript.begin(environment)
        return await _turns(work, transcript, environment)
    finally:
        transcript.grading = getattr(environment, "grading", None)
        transcript.judging = getattr(environment, "judging", False)
        transcript.earned = getattr(environment, "earned", None)
        await environment.close()


async def _turns(work: Assignment, transcript: Transcript, environment: Environment) -> Outcome:
    while True:
        transcript.asked_at = time.monotonic()
        try:
            completion = await next_turn(work.engine, environment, transcript.messages, work.sampling, work.id)
        except ContextFull:
            end_early: EndEarly | None = getattr(environment, "end_early", None)
            if end_early is None:
                raise
            return await end_early("context_full")
        transcript.asked_at = None
        outcome = await take_turn(environment, work.protocol, transcript, completion)
        if outcome is not None:
            return outcome


async def _recorded(
    work: Assignment, transcript: Transcript, isolation: str, converse: Awaitable[Outcome]
) -> Trajectory:
    """The trajectory of a conversation. An exception that is no failure of an episode is raised."""
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    with judging(work.judge):
        try:
            outcome = await asyncio.wait_for(converse, work.protocol.deadline_s)
        except TimeoutError:
            outcome = _late(transcript, work.protocol)
        except Exception as fault:
            failure = fault_outcome(fault, work)
            if failure is None:
                raise
            outcome = failure
        asked = judge_usage()
    if transcript.earned is not None and outcome.error is None:
        outcome = outcome.model_copy(update={"reward": transcript.earned})
    if transcript.reward:
        outcome = outcome.model_copy(update={"reward": outcome.reward + transcript.reward})
    finished = _trajectory(work, transcript, outcome, isolation, started)
    return finished.model_copy(update={"wall_s": round(time.monotonic() - clock, 3), "judge": asked})


def unfinished(work: Assignment, messages: Sequence[Message], outcome: Outcome, isolation: str) -> Trajectory:
    """The trajectory of an episode that ended before its first turn."""
    return _trajectory(work, Transcript(list(messages)), outcome, isolation, datetime.datetime.now(datetime.UTC))


def _trajectory(
    work: Assignment, transcript: Transcript, outcome: Outcome, isolation: str, started: datetime.datetime
) -> Trajectory:
    return Trajectory(
        id=work.id,
        task=work.task.ref,
        model=work.engine.name,
        sampling=work.sampling,
        protocol=work.protocol.ref,
        messages=tuple(transcript.messages),
        outcome=outcome,
        usage=Usage(**transcript.usage),
        isolation=isolation,
        seed=work.seed,
        started_at=started.isoformat(timespec="seconds"),
        wall_s=0.0,
        branch=work.branch,
        grading=transcript.grading,
    )


def fault_outcome(fault: Exception, work: Assignment) -> Outcome | None:
    """The outcome of an episode in which ``fault`` was raised; None for a defect of this project."""
    if isinstance(fault, TimeoutError):
        return ended("deadline")
    if isinstance(fault, ContextFull):
        return ended("context_full")
    if isinstance(fault, EngineError | EnvironmentFault):
        return _failed(fault.kind, fault)
    if isinstance(fault, SandboxError):
        return _failed("infra", fault)
    if isinstance(fault, ValidationError):  # an environment of another package made a turn that cannot be stored
        return _failed("task", f"{work.task.id}: {fault.errors()[0]['loc']}: {fault.errors()[0]['msg']}")
    return None


async def take_turn(
    environment: Environment, protocol: EpisodeProtocol, transcript: Transcript, completion: Completion
) -> Outcome | None:
    """Records an assistant turn and the reply to it. An outcome ends the episode."""
    calls = completion.tool_calls if getattr(environment, "native_tools", ()) else ()
    action = Action("action", completion.text, calls) if calls else environment.parse(completion.text)
    transcript.add(
        "assistant",
        action.kind,
        completion.text,
        token_ids=completion.token_ids,
        logprobs=completion.logprobs,
        reasoning=completion.reasoning,
        tool_calls=calls or None,
        choices=completion.choices,
    )
    transcript.count(
        steps=1,
        proposals=int(action.kind == "proposal"),
        invalid=int(action.kind == "invalid"),
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        cached_tokens=completion.cached_tokens,
    )
    budget = transcript.budget(protocol)
    reply = await environment.step(action, budget)
    if isinstance(reply, Outcome):
        return reply
    if not math.isfinite(reply.reward):
        raise EnvironmentFault("task", f"the reward of a step is {reply.reward}")
    transcript.reward += reply.reward
    if reply.cell is not None:
        cell = reply.cell
        transcript.count(cells=1, error_cells=int(cell.status != "ok"), tool_calls=cell.tool_calls)
    if reply.outcome is not None:
        return reply.outcome
    if budget.steps_left <= 0:
        return ended("max_steps")  # without the observation: a finished trajectory ends with an assistant turn
    if protocol.user_feedback is not None:
        reference = getattr(environment, "reference", "")
        reply = await with_feedback(protocol.user_feedback, transcript.messages, reply, reference)
    transcript.observe(reply)
    return None


def _late(transcript: Transcript, protocol: EpisodeProtocol) -> Outcome:
    """The outcome of an episode that took too long. A server that does not answer is not the model's failure, nor is a
    judge."""
    if transcript.judging:
        return _failed("infra", "the judge did not answer until protocol.deadline_s was over")
    waited_s = time.monotonic() - transcript.asked_at if transcript.asked_at is not None else 0.0
    if waited_s <= protocol.deadline_s / 2:
        return ended("deadline")
    return _failed("infra", f"the engine did not answer for {waited_s:.0f} s, until protocol.deadline_s was over")


def _failed(kind: ErrorKind, fault: Exception | str) -> Outcome:
    error = EpisodeError(kind=kind, message=str(fault), refused=isinstance(fault, EngineRefused))
    return Outcome(success=False, reward=0.0, reason="error", error=error)
