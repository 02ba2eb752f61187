"""One task, from its prompt to its outcome.

Contract: :func:`run_episode` always returns a trajectory; what goes wrong is in its outcome. A failed episode is
data, not a crash: errors are typed ``infra`` (worth a retry), ``sandbox``, ``model`` or ``task``. Grading happens
here, on the host, from the proposed text alone; the kernel never learns the answer. An episode owns its kernel and
destroys it.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rollout.actions import parse
from rollout.engines.base import Completion, ContextFull, Engine, EngineError
from rollout.families.base import Task
from rollout.graders import GRADERS
from rollout.kernel_source import AnyKernel, Pool
from rollout.protocol import EpisodeProtocol
from rollout.trajectory import (
    CellOutcome,
    EpisodeError,
    Message,
    MessageKind,
    Outcome,
    Reason,
    Sampling,
    Trajectory,
    Usage,
    trajectory_id,
)
from sandbox import SandboxError


class TaskError(Exception):
    """The task itself is broken: its set-up code fails."""


@dataclass
class _Progress:
    """What has happened so far; the loop below adds to it."""

    messages: list[Message] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Usage.model_fields, 0))

    def add(self, role: str, kind: MessageKind, content: str, **extra: Any) -> None:
        self.messages.append(Message(role=role, kind=kind, content=content, **extra))

    def count(self, **amounts: int) -> None:
        for name, amount in amounts.items():
            self.usage[name] += amount


async def run_episode(
    task: Task, engine: Engine, pool: Pool, protocol: EpisodeProtocol, sampling: Sampling, seed: int = 0
) -> Trajectory:
    """Works on a task until it is solved or a limit is met.

    Args:
        task: what to do. Its toolset is copied, so that state of tools never leaks between episodes.
        engine: completes the chat; called once a turn.
        pool: gives the episode's kernel; of this machine or of a service.
        protocol: wording and limits.
        sampling: how completions are drawn.
        seed: stored, part of the trajectory's identity.
    """
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    identity = trajectory_id(task.ref, engine.name, sampling, protocol.ref, seed)
    progress = _Progress()
    try:
        outcome = await asyncio.wait_for(
            _converse(task, engine, pool, protocol, sampling, progress, identity), protocol.deadline_s
        )
    except TimeoutError:
        outcome = _ended("deadline")
    except ContextFull:
        outcome = _ended("context_full")
    except EngineError as fault:
        outcome = _faulted(fault.kind, fault)
    except SandboxError as fault:
        outcome = _faulted("infra", fault)
    except TaskError as fault:
        outcome = _faulted("task", fault)
    return Trajectory(
        id=identity,
        task=task.ref,
        model=engine.name,
        sampling=sampling,
        protocol=protocol.ref,
        messages=tuple(progress.messages),
        outcome=outcome,
        usage=Usage(**progress.usage),
        isolation=pool.tier,
        seed=seed,
        started_at=started.isoformat(timespec="seconds"),
        wall_s=round(time.monotonic() - clock, 3),
    )


async def _converse(
    task: Task,
    engine: Engine,
    pool: Pool,
    protocol: EpisodeProtocol,
    sampling: Sampling,
    progress: _Progress,
    identity: str,
) -> Outcome:
    tools = task.toolset.functions() if task.toolset else {}
    progress.add("system", "instruction", protocol.system(tools))
    progress.add("user", "task", protocol.task(task.prompt))
    kernel = await pool.acquire(tools=tools)
    try:
        await _set_up(kernel, task, protocol)
        while True:
            completion = await engine.complete(progress.messages, sampling, session=identity)
            outcome = await _take_turn(task, kernel, protocol, progress, completion)
            if outcome is not None:
                return outcome
    finally:
        await kernel.close()


async def _set_up(kernel: AnyKernel, task: Task, protocol: EpisodeProtocol) -> None:
    if not task.setup:
        return
    result = await kernel.run(task.setup, timeout_s=protocol.cell_timeout_s)
    if result.status != "ok":
        raise TaskError(f"set-up of {task.id}: {result.status} {result.error_name or ''}: {result.error_value or ''}")


async def _take_turn(
    task: Task, kernel: AnyKernel, protocol: EpisodeProtocol, progress: _Progress, completion: Completion
) -> Outcome | None:
    """Records an assistant turn and the reply to it. An outcome ends the episode."""
    action = parse(completion.text)
    progress.add(
        "assistant",
        action.kind,
        completion.text,
        token_ids=completion.token_ids,
        logprobs=completion.logprobs,
    )
    progress.count(steps=1, prompt_tokens=completion.prompt_tokens, completion_tokens=completion.completion_tokens)
    if action.kind == "proposal":
        progress.count(proposals=1)
        if GRADERS[task.grader](action.body, task.answer):
            return _ended("solved")
        if progress.usage["proposals"] >= protocol.max_proposals:
            return _ended("wrong_answer")
        return _answer(protocol, progress, "feedback", lambda *left: protocol.feedback(protocol.wrong_feedback, *left))
    if action.kind == "invalid":
        progress.count(invalid=1)
        if progress.usage["invalid"] >= protocol.max_invalid:
            return _ended("max_invalid")
        return _answer(
            protocol, progress, "feedback", lambda *left: protocol.feedback(protocol.invalid_feedback, *left)
        )
    result = await kernel.run(action.body, timeout_s=protocol.cell_timeout_s)
    progress.count(cells=1, error_cells=int(result.status != "ok"))
    cell = CellOutcome(status=result.status, error_name=result.error_name, seconds=round(result.seconds, 4))
    return _answer(protocol, progress, "observation", lambda *left: protocol.observation(result, *left), cell=cell)


def _answer(
    protocol: EpisodeProtocol, progress: _Progress, kind: MessageKind, render: Callable[[int, int], str], **extra: Any
) -> Outcome | None:
    """Adds the user turn, unless no step is left to answer it (a finished trajectory ends with an assistant turn)."""
    steps_left = protocol.max_steps - progress.usage["steps"]
    if steps_left <= 0:
        return _ended("max_steps")
    progress.add("user", kind, render(steps_left, protocol.max_proposals - progress.usage["proposals"]), **extra)
    return None


def _ended(reason: Reason) -> Outcome:
    return Outcome(success=reason == "solved", reward=float(reason == "solved"), reason=reason)


def _faulted(kind: str, fault: Exception) -> Outcome:
    error = EpisodeError(kind=kind, message=str(fault))
    return Outcome(success=False, reward=0.0, reason="error", error=error)
