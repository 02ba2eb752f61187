"""The episode loop: model ⇄ environment, from a task's prompt to its outcome.

Contract: :func:`run_episode` returns a trajectory even when the episode fails: a failed episode is data. Its error says
who failed: ``infra`` (server, kernel or actor: worth a retry), ``model`` (the engine refuses) or ``task`` (the task is
broken). What actions do and how answers are graded is the environment's part (:mod:`rollout.environment`).
"""

from __future__ import annotations

import asyncio
import datetime
import time
from dataclasses import dataclass, field
from typing import Any

from rollout.codeact import CodeActEnvironment
from rollout.engines.base import Completion, ContextFull, Engine, EngineError
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
        outcome = ended("deadline")
    except ContextFull:
        outcome = ended("context_full")
    except (EngineError, EnvironmentFault) as fault:
        outcome = _failed(fault.kind, fault)
    except SandboxError as fault:
        outcome = _failed("infra", fault)
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
            completion = await engine.complete(transcript.messages, sampling, session=identity)
            outcome = await _take_turn(environment, protocol, transcript, completion)
            if outcome is not None:
                return outcome
    finally:
        await environment.close()


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
    transcript.reward += reply.reward
    if reply.cell is not None:
        transcript.count(cells=1, error_cells=int(reply.cell.status != "ok"))
    if budget.steps_left <= 0:
        return ended("max_steps")  # without the observation: a finished trajectory ends with an assistant turn
    transcript.observe(reply)
    return None


def _failed(kind: ErrorKind, fault: Exception) -> Outcome:
    error = EpisodeError(kind=kind, message=str(fault))
    return Outcome(success=False, reward=0.0, reason="error", error=error)
