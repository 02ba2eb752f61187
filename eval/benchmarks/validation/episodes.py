"""Whole episodes of a check: experts that play tasks, and engines that propose wrong answers.

Contract: episodes run as in an evaluation, several at once, with kernels of this machine where actions are code. An
episode that ends in an error is no verdict; it is found and named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eval.benchmarks.validation.judge import comparing_judge
from eval.benchmarks.validation.report import Check
from rollout import (
    CHOICE_FORMS,
    EpisodeKernel,
    EpisodeProtocol,
    KernelSource,
    Message,
    Sampling,
    Task,
    Trajectory,
    WorkerConfig,
    open_kernel_source,
    run_episode,
)
from rollout.checks.validate import Finding, Problem, answers_of
from rollout.engines import Completion, Engine, EngineError, ExpertSpec, Judge, Scores
from rollout.families import answer_turn

_AT_ONCE = 4
_LISTS = EpisodeProtocol(form="calls_json")
"""Reads the turns of an engine with native calls."""


def expert_of(task: Task, form: str) -> Callable[[bool], Any] | None:
    """The task's expert for protocols of a form; None when it has none. A plain expert writes tags."""
    if task.expert is None:
        return None
    in_form: Callable[[str], Callable[[bool], Any] | None] | None = getattr(task.expert, "in_form", None)
    if in_form is not None:
        return in_form(form)
    return task.expert if form == "tags" else None


def can_play(task: Task, form: str) -> bool:
    """Whether a task can be played under protocols of a form: it has an expert, or choices of which one is right."""
    if form in CHOICE_FORMS:
        return any(_is_gold(task, choice) for choice in task.choices)
    return expert_of(task, form) is not None


async def play(check: Check, tasks: Sequence[Task], protocol: EpisodeProtocol) -> None:
    """Plays the tasks that have an expert, and proposes wrong answers to them; counts into ``check``.

    Raises:
        SandboxError: this machine cannot run kernels.
    """
    judge = comparing_judge() if any(task.grader == "rating" for task in tasks) else None
    runs = _Runs(await _kernels(tasks, protocol), judge)
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(task: Task) -> None:
        async with places:
            await _gold(check, task, protocol, runs)
            await _wrong(check, task, protocol, runs)

    try:
        await asyncio.gather(*map(one, tasks))
    finally:
        await runs.close()


@dataclass(frozen=True)
class _Runs:
    """Runs the episodes of a check."""

    kernels: KernelSource
    judge: Judge | None

    async def episode(self, task: Task, engine: Engine, protocol: EpisodeProtocol) -> Trajectory:
        return await run_episode(task, engine, self.kernels, protocol, Sampling(), judge=self.judge)

    async def close(self) -> None:
        if self.judge is not None:
            self.judge.close()
        await self.kernels.close()


async def _gold(check: Check, task: Task, protocol: EpisodeProtocol, runs: _Runs) -> None:
    """The expert's episode; one that has ``right_turns`` gets an episode for each of these."""
    right_turns: Callable[[str], list[str]] | None = getattr(task.expert, "right_turns", None)
    if right_turns is not None and can_play(task, protocol.form):
        for turn in right_turns(protocol.form):
            await _solve(check, task, protocol, runs, _proposer([turn], protocol))
        return
    engine = _player(task, protocol)
    if engine is None:
        check.without_answer += 1
        return
    await _solve(check, task, protocol, runs, engine)


async def _solve(check: Check, task: Task, protocol: EpisodeProtocol, runs: _Runs, engine: Engine) -> None:
    """An episode that must solve the task."""
    check.right += 1
    once = protocol.model_copy(update={"max_proposals": 1})
    with_room: Callable[[Task], tuple[Task, int]] | None = getattr(task.expert, "with_room", None)
    if with_room is not None:
        task, turns = with_room(task)
        once = once.model_copy(update={"max_steps": max(turns, once.max_steps)})
    played = await runs.episode(task, engine, once)
    check.accepted += played.outcome.success
    if not played.outcome.success:
        problem: Problem = "no verdict" if played.outcome.error else "right answer refused"
        check.add(Finding(task.id, problem, _last_turn(played), _ended(played)))


def _player(task: Task, protocol: EpisodeProtocol) -> Engine | None:
    """An engine that solves the task; None when there is none."""
    if not can_play(task, protocol.form):
        return None
    if protocol.form in CHOICE_FORMS:
        return Prefers(next(choice for choice in task.choices if _is_gold(task, choice)))
    return ExpertSpec(error_share=0.0).build(replace(task, expert=expert_of(task, protocol.form)))


def _is_gold(task: Task, choice: str) -> bool:
    return choice.strip() == (task.solution or task.answer)


async def _wrong(check: Check, task: Task, protocol: EpisodeProtocol, runs: _Runs) -> None:
    """One episode, whose turns are the wrong answers.

    A wrong choice, one of ``wrong_turns`` and one of the experts of ``wrong_experts`` get an episode each.
    """
    if protocol.form in CHOICE_FORMS:
        for choice in task.choices:
            if not _is_gold(task, choice):
                await _propose(check, task, protocol, runs, [choice], Prefers(choice))
        return
    await _play_wrongly(check, task, protocol, runs)
    wrong_turns: Callable[[str], list[str]] | None = getattr(task.expert, "wrong_turns", None)
    if wrong_turns is not None:
        for turn in wrong_turns(protocol.form):
            await _propose(check, task, protocol, runs, [turn])
        return
    answers = answers_of(task).wrong
    turns = [answer_turn(protocol.form, answer) for answer in answers]
    turns = [turn for turn in turns if protocol.parse(turn).kind == "proposal"]  # an empty text is none everywhere
    if turns:
        await _propose(check, task, protocol, runs, turns)


async def _play_wrongly(check: Check, task: Task, protocol: EpisodeProtocol, runs: _Runs) -> None:
    """Episodes of experts that must not solve the task."""
    wrong_experts: Callable[[], list[Callable[[bool], Any]]] = getattr(task.expert, "wrong_experts", list)
    for wrong in wrong_experts():
        expert = expert_of(replace(task, expert=wrong), protocol.form)
        if expert is None:
            continue
        check.wrong += 1
        engine = ExpertSpec(error_share=0.0).build(replace(task, expert=expert))
        once = protocol.model_copy(update={"max_proposals": 1})
        played = await runs.episode(task, engine, once)
        if played.outcome.success or played.outcome.error:
            problem: Problem = "wrong answer accepted" if played.outcome.success else "no verdict"
            check.add(Finding(task.id, problem, _last_turn(played), _ended(played)))
        else:
            check.rejected += 1


async def _propose(
    check: Check,
    task: Task,
    protocol: EpisodeProtocol,
    runs: _Runs,
    turns: Sequence[str],
    engine: Engine | None = None,
) -> None:
    """An episode with these turns, none of which may solve the task."""
    check.wrong += (number := len(turns))
    patient = protocol.model_copy(update={"max_steps": number, "max_proposals": number})
    played = await runs.episode(task, engine or _proposer(turns, protocol), patient)
    if played.outcome.error:
        check.add(Finding(task.id, "no verdict", _last_turn(played), _ended(played)))
    elif played.outcome.success:
        check.rejected += played.usage.proposals - 1
        check.add(Finding(task.id, "wrong answer accepted", _last_turn(played), _ended(played)))
    else:
        check.rejected += number


@dataclass
class Proposes:
    """An engine that says the given turns one after another."""

    turns: Sequence[str]
    name: str = "proposes"

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        """The next turn."""
        said = sum(message.role == "assistant" and message.kind != "instruction" for message in messages)
        if said >= len(self.turns):
            raise EngineError("model", "every answer has been proposed")
        text = self.turns[said]
        return Completion(text, None, None, prompt_tokens=0, completion_tokens=0, finish_reason="stop")

    async def close(self) -> None:
        """Nothing to release."""


@dataclass
class Prefers:
    """An engine for which one text is more probable than all others."""

    text: str
    name: str = "prefers"

    async def score(self, prompt: str | Sequence[Message], texts: Sequence[str], *, session: str) -> Scores:
        """Texts that end with the preferred one have log-probability -1, others -9."""
        return Scores(tuple(-1.0 if text.endswith(self.text) else -9.0 for text in texts))

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        """Raises EngineError: this engine writes nothing."""
        raise EngineError("model", "this engine only says which text it prefers")

    async def close(self) -> None:
        """Nothing to release."""


@dataclass
class CallsNatively:
    """An engine with native calls: it says the given turns, and a JSON list of calls in one is made natively."""

    turns: Sequence[str]
    name: str = "calls natively"
    takes_tools: bool = True

    async def complete(
        self, messages: Sequence[Message], sampling: Sampling, *, session: str, tools: Sequence[Any] = ()
    ) -> Completion:
        """The next turn."""
        said = await Proposes(self.turns).complete(messages, sampling, session=session)
        calls = _LISTS.parse(said.text).calls if tools else ()
        return replace(said, text="" if calls else said.text, tool_calls=calls)

    async def close(self) -> None:
        """Nothing to release."""


def _proposer(turns: Sequence[str], protocol: EpisodeProtocol) -> Engine:
    """An engine that says these turns."""
    return CallsNatively(turns) if protocol.form == "tools" else Proposes(turns)


class NoKernels:
    """The kernel source of episodes whose actions are no code."""

    tier = "none"

    async def acquire(self, tools: Mapping[str, Callable[..., Any]]) -> EpisodeKernel:
        """Raises RuntimeError: no episode of these protocols needs a kernel."""
        raise RuntimeError("an episode without code asked for a kernel")

    async def close(self) -> None:
        """Nothing to release."""


async def _kernels(tasks: Sequence[Task], protocol: EpisodeProtocol) -> KernelSource:
    if protocol.runs_code or any(task.check or task.environment for task in tasks):
        return await open_kernel_source(WorkerConfig(warm_kernels=_AT_ONCE), protocol, None)
    return NoKernels()


def _last_turn(played: Trajectory) -> str:
    return next((message.content for message in reversed(played.messages) if message.role == "assistant"), "")


def _ended(played: Trajectory) -> str:
    error = played.outcome.error
    return f"the episode ended with {played.outcome.reason}" + (f": {error.message}" if error else "")
