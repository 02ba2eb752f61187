"""The environment of the code-writing agent: actions are cells in a kernel, answers are graded.

Contract: an episode owns its kernel and destroys it. Grading happens on the host from the proposed text, or from
a state that a fresh kernel reads (:mod:`rollout.codeact.state`); neither the answer nor the grader enters a kernel of
the model. A grader's reward of 1 or more solves the task; a smaller one is the
reward of the last answer that the protocol allows.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rollout.bank.trajectory import CellOutcome, Grading, Message, Outcome, ToolCall
from rollout.codeact.direct_calls import PYTHON, DirectCalls, native_tools
from rollout.codeact.state import StateCheck
from rollout.codeact.verdicts import Verdicts
from rollout.environment import Action, Budget, CannotForkError, EnvironmentFault, Observation, ended
from rollout.families.base import Task
from rollout.kernel_source import EpisodeKernel, ForkingKernel, KernelSource
from rollout.protocol import EpisodeProtocol
from sandbox import CellResult


class CodeActEnvironment:
    """A task, a kernel and a grader. Its toolset is copied, so no state of tools leaks between episodes."""

    def __init__(self, task: Task, kernels: KernelSource, protocol: EpisodeProtocol) -> None:
        self._task, self._kernels, self._protocol = task, kernels, protocol
        self._kernel: EpisodeKernel | None = None
        self._toolset = task.toolset.fresh() if task.toolset else None
        self._verdicts = Verdicts(task, kernels)
        self._state = StateCheck(task, kernels, protocol.cell_timeout_s)
        self.tools: Mapping[str, Callable[..., Any]] = self._toolset.functions() if self._toolset else {}

    @property
    def grading(self) -> Grading | None:
        """The verdicts so far, with what is needed to judge again; None before the first answer."""
        return self._verdicts.grading

    @property
    def earned(self) -> float | None:
        """Reward so far, from functions that give one (:meth:`rollout.families.base.Toolset.earned`)."""
        return self._toolset.earned() if self._toolset else None

    @property
    def native_tools(self) -> Sequence[Mapping[str, Any]]:
        """Descriptions of the functions for an engine with native calls; empty under other protocols."""
        if self._protocol.form != "tools":
            return ()
        return native_tools(self.tools, python=self._protocol.python_tool)

    @property
    def reference(self) -> str:
        """The right answer, for a judge that gives feedback."""
        return self._task.solution or self._task.answer

    def prompt(self) -> Sequence[Message]:
        """The instructions with the list of tools, perhaps an example, then the task."""
        task = self._task
        return self._protocol.prompt(task.prompt, self.tools, task.family, task.kind)

    async def reset(self) -> None:
        """Acquires a kernel and runs the task's set-up code in it; without actions in code, neither is needed."""
        if self._toolset is not None:
            await self._toolset.open()
        if not (self._protocol.runs_code or self._task.check):
            return
        self._kernel = await self._kernels.acquire(tools={**self.tools, **self._state.tools()})
        if not self._task.setup:
            return
        result = await self._kernel.run(self._task.setup, timeout_s=self._protocol.cell_timeout_s)
        if result.status != "ok":
            error = f"{result.status} {result.error_name or ''}: {result.error_value or ''}"
            raise EnvironmentFault("task", f"set-up of {self._task.id}: {error}")

    def parse(self, text: str) -> Action:
        """See :meth:`rollout.protocol.EpisodeProtocol.parse`."""
        return self._protocol.parse(text)

    async def step(self, action: Action, budget: Budget) -> Observation | Outcome:
        """Runs a cell or calls, grades a proposal, or explains the format after a turn without either."""
        if action.kind == "proposal":
            return await self._answer(await self._graded(action.body), budget)
        if action.kind == "invalid":
            if budget.invalid_left <= 0:
                return ended("max_invalid")
            return Observation(self._protocol.feedback(self._protocol.invalid_feedback, budget), "feedback")
        results = [await self._call(call) for call in action.calls] or [await self._run(action.body)]
        failed = next((result for result in results if result.status != "ok"), results[-1])
        cell = CellOutcome(
            status=failed.status,
            error_name=failed.error_name,
            seconds=round(sum(result.seconds for result in results), 4),
            tool_calls=sum(result.tool_calls for result in results),
        )
        outcome = self._toolset.outcome() if self._toolset else None
        texts = self._protocol.observations(results, budget)
        shown = tuple(texts) if action.calls and self._protocol.form == "tools" else None
        return Observation("\n".join(texts), cell=cell, results=shown, outcome=outcome)

    async def _run(self, code: str) -> CellResult:
        assert self._kernel is not None, "step before reset"
        return await self._kernel.run(code, timeout_s=self._protocol.cell_timeout_s)

    async def _call(self, call: ToolCall) -> CellResult:
        """The result of a call; that of ``python`` runs a cell."""
        if call.name != PYTHON or self._kernel is None:
            return await DirectCalls(self.tools).run(call, self._protocol.cell_timeout_s)
        try:
            return await self._run(str(json.loads(call.arguments)["code"]))
        except (ValueError, KeyError, TypeError):
            message = "python() takes an object with the key code"
            return CellResult(status="error", error_name="TypeError", error_value=message)

    async def fork(self) -> CodeActEnvironment:
        """A second environment with a fork of the kernel and a copy of the tools.

        Raises:
            CannotForkError: the kernel source has no fork, or the tools cannot be copied.
            SandboxError: the kernel failed.
        """
        if self._kernel is not None and not isinstance(self._kernel, ForkingKernel):
            raise CannotForkError(f"kernels of the kind {type(self._kernel).__name__} have no fork")
        branch = copy.copy(self)
        branch._state = StateCheck(self._task, self._kernels, self._protocol.cell_timeout_s)
        if self._toolset is not None:
            try:
                branch._toolset = self._toolset.fork()
            except Exception as fault:  # a toolset may come from another package and hold anything
                raise CannotForkError(
                    f"the tools {type(self._toolset).__name__} cannot be copied ({type(fault).__name__}: {fault})"
                ) from fault
            branch.tools = branch._toolset.functions()
        if self._kernel is None:  # a protocol without actions in code
            return branch
        try:
            branch._kernel = await self._kernel.fork(tools={**branch.tools, **branch._state.tools()})
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

    async def _graded(self, proposed: str) -> str:
        """The answer, or what the check of the task prints about the state."""
        if not self._task.check:
            return proposed
        assert self._kernel is not None, "step before reset"
        return await self._state.read(self._kernel)

    async def _answer(self, proposed: str, budget: Budget) -> Observation | Outcome:
        in_tags = not self._task.check and self._protocol.form == "tags"
        verdict = await self._verdicts.judge(proposed, store=not in_tags)
        if verdict.kind == "right":
            return ended("solved", verdict.reward)
        if budget.proposals_left <= 0:
            return ended("wrong_answer", verdict.reward)
        return Observation(self._protocol.feedback(self._protocol.wrong_feedback, budget), "feedback")
