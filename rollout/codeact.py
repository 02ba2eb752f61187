"""The environment of the code-writing agent: actions are cells in a kernel, answers are graded.

Contract: an episode owns its kernel and destroys it. Grading happens on the host from the proposed text alone; neither
the answer nor the grader enters the kernel. A grader's reward of 1 or more solves the task; a smaller one is the
reward of the last answer that the protocol allows.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rollout.environment import Action, Budget, CannotForkError, EnvironmentFault, Observation, ended
from rollout.families.base import Task
from rollout.graders import Verdict, judge_async
from rollout.kernel_source import EpisodeKernel, ForkingKernel, KernelSource
from rollout.protocol import EpisodeProtocol
from rollout.trajectory import CellOutcome, GivenVerdict, Grading, Message, Outcome

LONGEST_REFERENCE = 64 * 1024
"""Characters of a reference that is stored with each trajectory."""

_EXECUTE = re.compile(r"<execute>(.*?)</execute>", re.DOTALL)
_SOLUTION = re.compile(r"<solution>(.*?)(?:</solution>|\Z)", re.DOTALL)


def parse(text: str) -> Action:
    """The action in an assistant turn.

    A text with a ``<solution>`` is a proposal, else one with an ``<execute>`` is a cell, else it is invalid. Several
    bodies of one kind are joined by newlines (paper section 2.2, MINT's rule). When a stop string or the token limit
    leaves a tag open, a solution counts as closed at the end; half a cell is never run. Linear in the length
    of the text.
    """
    solutions = [body.strip() for body in _SOLUTION.findall(text)]
    if solutions:
        return Action("proposal", "\n".join(solutions))
    closed = text[: text.rfind("</execute>") + len("</execute>")]  # else each open tag is searched to the end
    cells = [body.strip("\n") for body in _EXECUTE.findall(closed)]
    if any(cell.strip() for cell in cells):
        return Action("action", "\n".join(cells))
    return Action("invalid")


class CodeActEnvironment:
    """A task, a kernel and a grader. Its toolset is copied, so no state of tools leaks between episodes."""

    def __init__(self, task: Task, kernels: KernelSource, protocol: EpisodeProtocol) -> None:
        self._task, self._kernels, self._protocol = task, kernels, protocol
        self._kernel: EpisodeKernel | None = None
        self._toolset = task.toolset.fresh() if task.toolset else None
        self._verdicts: tuple[GivenVerdict, ...] = ()
        self.tools: Mapping[str, Callable[..., Any]] = self._toolset.functions() if self._toolset else {}

    @property
    def grading(self) -> Grading | None:
        """The verdicts so far, with what is needed to judge again; None before the first answer."""
        if not self._verdicts:
            return None
        reference = self._task.answer if len(self._task.answer) <= LONGEST_REFERENCE else None
        return Grading(grader=self._task.grader, reference=reference, verdicts=self._verdicts)

    def prompt(self) -> Sequence[Message]:
        """The instructions with the list of tools, then the task."""
        return (
            Message(role="system", kind="instruction", content=self._protocol.system(self.tools)),
            Message(role="user", kind="task", content=self._protocol.task(self._task.prompt)),
        )

    async def reset(self) -> None:
        """Acquires a kernel and runs the task's set-up code in it."""
        if self._toolset is not None:
            await self._toolset.open()
        self._kernel = await self._kernels.acquire(tools=self.tools)
        if not self._task.setup:
            return
        result = await self._kernel.run(self._task.setup, timeout_s=self._protocol.cell_timeout_s)
        if result.status != "ok":
            error = f"{result.status} {result.error_name or ''}: {result.error_value or ''}"
            raise EnvironmentFault("task", f"set-up of {self._task.id}: {error}")

    def parse(self, text: str) -> Action:
        """See :func:`parse`."""
        return parse(text)

    async def step(self, action: Action, budget: Budget) -> Observation | Outcome:
        """Runs a cell, grades a proposal, or explains the format after a turn without either."""
        if action.kind == "proposal":
            return await self._answer(await self._state(action.body), budget)
        if action.kind == "invalid":
            if budget.invalid_left <= 0:
                return ended("max_invalid")
            return Observation(self._protocol.feedback(self._protocol.invalid_feedback, budget), "feedback")
        assert self._kernel is not None, "step before reset"
        result = await self._kernel.run(action.body, timeout_s=self._protocol.cell_timeout_s)
        cell = CellOutcome(status=result.status, error_name=result.error_name, seconds=round(result.seconds, 4))
        outcome = self._toolset.outcome() if self._toolset else None
        return Observation(self._protocol.observation(result, budget), cell=cell, outcome=outcome)

    async def fork(self) -> CodeActEnvironment:
        """A second environment with a fork of the kernel and a copy of the tools.

        Raises:
            CannotForkError: the kernel source has no fork, or the tools cannot be copied.
            SandboxError: the kernel failed.
        """
        if not isinstance(self._kernel, ForkingKernel):
            raise CannotForkError(f"kernels of the kind {type(self._kernel).__name__} have no fork")
        branch = copy.copy(self)
        if self._toolset is not None:
            try:
                branch._toolset = self._toolset.fork()
            except Exception as fault:  # a toolset may come from another package and hold anything
                raise CannotForkError(
                    f"the tools {type(self._toolset).__name__} cannot be copied ({type(fault).__name__}: {fault})"
                ) from fault
            branch.tools = branch._toolset.functions()
        try:
            branch._kernel = await self._kernel.fork(tools=branch.tools)
        except BaseException:
            if branch._toolset is not None:
                branch._toolset.close()
            raise
        return branch

    async def close(self) -> None:
        """Destroys the kernel and what the tools hold."""
        try:
            if self._kernel is not None:
                await self._kernel.close()
        finally:
            if self._toolset is not None:
                self._toolset.close()

    async def _state(self, proposed: str) -> str:
        """What is graded: the answer, or what the task's check prints. A check that fails prints nothing."""
        if not self._task.check:
            return proposed
        assert self._kernel is not None, "step before reset"
        result = await self._kernel.run(self._task.check, timeout_s=self._protocol.cell_timeout_s)
        return result.stdout.strip() if result.status == "ok" else ""

    async def _answer(self, proposed: str, budget: Budget) -> Observation | Outcome:
        verdict = await judge_async(self._task.grader, proposed, self._task.answer, kernels=self._kernels)
        self._verdicts += (_given(verdict, proposed if self._task.check else None),)
        if verdict.kind == "none":
            message = f"grader {self._task.grader} of {self._task.id}: {verdict.reason}"
            raise EnvironmentFault(verdict.fault or "task", message)
        if verdict.kind == "right":
            return ended("solved", verdict.reward)
        if budget.proposals_left <= 0:
            return ended("wrong_answer", verdict.reward)
        return Observation(self._protocol.feedback(self._protocol.wrong_feedback, budget), "feedback")


def _given(verdict: Verdict, proposed: str | None) -> GivenVerdict:
    return GivenVerdict(kind=verdict.kind, reason=verdict.reason, reward=verdict.reward, proposed=proposed)
