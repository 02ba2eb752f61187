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
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from rollout.codeact import CodeActEnvironment
from rollout.engines.base import Completion, ContextFull, Engine, EngineError, EngineRefused
from rollout.environment import Budget, Environment, EnvironmentFault, Observation, ended
from rollout.families.base import Task
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol
from rollout.trajectory import (
    EpisodeError,
    ErrorKind,
    Message,
    MessageKind,
    Outcome,
    Role,
    Sampling,
    Trajectory,
    Usage,
    trajectory_id,
)
from sandbox import SandboxError


@dataclass
class _Transcript:
    """The episode so far: messages, usage and rewards of its steps."""

    messages: list[Message] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Usage.model_fields, 0))
    reward: float = 0.0
    asked_at: float | None = None
    """When the completion was asked for that has not come yet."""

    def add(self, role: Role, kind: MessageKind, content: str, **extra: Any) -> None:
        self.messages.append(Message(role=role, kind=kind, content=content, **extra))

    def observe(self, observation: Observation) -> None:
        self.add("user", observation.kind, observation.content, cell=observation.cell)

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
) -> Trajectory:
    """Works on a task until it is solved or a limit is reached.

    Args:
        task: what to do, and in which environment.
        engine: completes the chat; called once a turn.
        kernels: where the episode's kernel comes from.
        protocol: wording and limits.
        sampling: how completions are drawn.
        seed: stored, part of the trajectory's identity.
    """
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    identity = trajectory_id(task.ref, engine.name, sampling, protocol.ref, seed)
    transcript = _Transcript()
    try:
        outcome = await asyncio.wait_for(
            _converse(task, engine, kernels, protocol, sampling, transcript, identity), protocol.deadline_s
        )
    except TimeoutError:
        outcome = _late(transcript, protocol)
    except ContextFull:
        outcome = ended("context_full")
    except (EngineError, EnvironmentFault) as fault:
        outcome = _failed(fault.kind, fault)
    except SandboxError as fault:
        outcome = _failed("infra", fault)
    except ValidationError as fault:  # an environment of another package made a turn that cannot be stored
        outcome = _failed("task", f"{task.id}: {fault.errors()[0]['loc']}: {fault.errors()[0]['msg']}")
    if transcript.reward:
        outcome = outcome.model_copy(update={"reward": outcome.reward + transcript.reward})
    return Trajectory(
        id=identity,
        task=task.ref,
        model=engine.name,
        sampling=sampling,
        protocol=protocol.ref,
        messages=tuple(transcript.messages),
        outcome=outcome,
        usage=Usage(**transcript.usage),
        isolation=kernels.tier,
        seed=seed,
        started_at=started.isoformat(timespec="seconds"),
        wall_s=round(time.monotonic() - clock, 3),
    )


async def _converse(
    task: Task,
    engine: Engine,
    kernels: KernelSource,
    protocol: EpisodeProtocol,
    sampling: Sampling,
    transcript: _Transcript,
    identity: str,
) -> Outcome:
    environment: Environment = (task.environment or CodeActEnvironment)(task, kernels, protocol)
    transcript.messages.extend(environment.prompt())
    try:
        first = await environment.reset()
        if first is not None:
            transcript.observe(first)
        while True:
            completion = await _complete(engine, transcript, sampling, identity)
            outcome = await _take_turn(environment, protocol, transcript, completion)
            if outcome is not None:
                return outcome
    finally:
        await environment.close()


async def _complete(engine: Engine, transcript: _Transcript, sampling: Sampling, identity: str) -> Completion:
    """The next turn. An exception that is no :class:`EngineError` is a defect of the engine."""
    transcript.asked_at = time.monotonic()
    try:
        completion = await engine.complete(transcript.messages, sampling, session=identity)
    except EngineError:
        raise
    except Exception as fault:  # an engine may come from another package
        raise EngineError("infra", f"engine {engine.name}: {type(fault).__name__}: {fault}") from fault
    transcript.asked_at = None
    return completion


async def _take_turn(
    environment: Environment, protocol: EpisodeProtocol, transcript: _Transcript, completion: Completion
) -> Outcome | None:
    """Records an assistant turn and the reply to it. An outcome ends the episode."""
    action = environment.parse(completion.text)
    transcript.add(
        "assistant",
        action.kind,
        completion.text,
        token_ids=completion.token_ids,
        logprobs=completion.logprobs,
        reasoning=completion.reasoning,
    )
    transcript.count(
        steps=1,
        proposals=int(action.kind == "proposal"),
        invalid=int(action.kind == "invalid"),
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
    )
    budget = transcript.budget(protocol)
    reply = await environment.step(action, budget)
    if isinstance(reply, Outcome):
        return reply
    if not math.isfinite(reply.reward):
        raise EnvironmentFault("task", f"the reward of a step is {reply.reward}")
    transcript.reward += reply.reward
    if reply.cell is not None:
        transcript.count(cells=1, error_cells=int(reply.cell.status != "ok"))
    if reply.outcome is not None:
        return reply.outcome
    if budget.steps_left <= 0:
        return ended("max_steps")  # without the observation: a finished trajectory ends with an assistant turn
    transcript.observe(reply)
    return None


def _late(transcript: _Transcript, protocol: EpisodeProtocol) -> Outcome:
    """The outcome of an episode that took too long. A server that does not answer is not the model's failure."""
    waited_s = time.monotonic() - transcript.asked_at if transcript.asked_at is not None else 0.0
    if waited_s <= protocol.deadline_s / 2:
        return ended("deadline")
    return _failed("infra", f"the engine did not answer for {waited_s:.0f} s, until protocol.deadline_s was over")


def _failed(kind: ErrorKind, fault: Exception | str) -> Outcome:
    error = EpisodeError(kind=kind, message=str(fault), refused=isinstance(fault, EngineRefused))
    return Outcome(success=False, reward=0.0, reason="error", error=error)
