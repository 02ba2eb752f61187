"""The environment of API-Bank: a dialogue, and the one call that the assistant makes next.

Contract: an episode has one turn. Code runs in a kernel and reaches the APIs through the host; JSON and text call them
directly. Either way the host keeps the calls, and a grader compares them with the record: no text that a cell prints
decides. The earlier calls of the dialogue are shown in the format of the protocol, by the writer of
:mod:`rollout.protocol.calls`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rollout.bank.trajectory import CellOutcome, Grading, Message, Outcome, Role
from rollout.codeact.direct_calls import DirectCalls
from rollout.codeact.verdicts import Verdicts, outcome_of
from rollout.environment import Action, Budget, EnvironmentFault, Observation, ended
from rollout.families.apibank.legacy import reference_call
from rollout.families.apibank.toolset import ApiBankTools
from rollout.families.base import Task
from rollout.kernel_source import EpisodeKernel, KernelSource
from rollout.protocol import EpisodeProtocol
from rollout.protocol.calls import RENDER, render_call
from sandbox import CellResult

YEAR = "This year is 2023."
ASKED = "Write the next API call."
"""The end of the last user message, so that a dialogue whose last text is the assistant's ends with the user's."""
OPENING = "(The conversation begins.)"
"""The user's message before a dialogue that the assistant begins: chat templates want the user first."""


class OneCallEnvironment:
    """A task of the family ``apibank``. The databases are copied, so no state is shared between episodes."""

    def __init__(self, task: Task, kernels: KernelSource, protocol: EpisodeProtocol) -> None:
        assert isinstance(task.toolset, ApiBankTools)
        self._task, self._kernels, self._protocol = task, kernels, protocol
        self._toolset = task.toolset.fresh()
        self._kernel: EpisodeKernel | None = None
        self._said = ""
        self._verdicts = Verdicts(task, kernels)
        self.tools: Mapping[str, Callable[..., Any]] = self._toolset.functions()

    @property
    def grading(self) -> Grading | None:
        """The verdict, with what is needed to judge again; None before a call."""
        return self._verdicts.grading

    @property
    def reference(self) -> str:
        """The recorded call, for a judge that gives feedback."""
        return self._task.answer

    def prompt(self) -> Sequence[Message]:
        """Instructions with the descriptions of the APIs, then the dialogue in turns of user and assistant."""
        spoken = list(self._spoken())
        if self._protocol.instructions_role == "user":
            spoken[0] = ("user", f"{self._instructions()}\n\n{spoken[0][1]}")
        else:
            spoken.insert(0, ("system", self._instructions()))
        messages = [Message(role=role, kind="instruction", content=text) for role, text in spoken]
        return [*messages[:-1], messages[-1].model_copy(update={"kind": "task"})]

    async def reset(self) -> None:
        """Acquires a kernel when calls are code.

        Raises:
            EnvironmentFault: the protocol has no form for one call.
        """
        form = self._protocol.form
        if form not in RENDER:
            raise EnvironmentFault(
                "task",
                f"protocol.form={form}: a task of apibank is one call; choose the protocol apibank-code, apibank-json "
                "or apibank-text",
            )
        if self._protocol.runs_code:
            self._kernel = await self._kernels.acquire(tools=self.tools)

    def parse(self, text: str) -> Action:
        """See :mod:`rollout.protocol.calls`. A call is a proposal: it is judged, and nothing follows it."""
        self._said = text
        return self._protocol.parse(text)

    async def step(self, action: Action, budget: Budget) -> Observation | Outcome:
        """Makes the call and compares it with the record."""
        if action.kind == "invalid":
            return ended("max_invalid")
        results = [await self._call(action.body)] if not action.calls else await self._direct(action)
        failed = next((result for result in results if result.status != "ok"), None)
        proposed = json.dumps(
            {
                "calls": self._toolset.calls,
                "parsed": reference_call(self._said, self._protocol.form, self._toolset.databases),
                "error": f"{failed.error_name or failed.status}: {failed.error_value or ''}"[:200] if failed else "",
            },
            ensure_ascii=False,
        )
        outcome = outcome_of(await self._verdicts.judge(proposed))
        shown = failed or results[-1]
        cell = CellOutcome(
            status=shown.status,
            error_name=shown.error_name,
            seconds=round(sum(result.seconds for result in results), 4),
            tool_calls=len(self._toolset.calls),
        )
        return Observation(self._protocol.observation(shown, budget), cell=cell, outcome=outcome)

    async def close(self) -> None:
        """Destroys the kernel."""
        if self._kernel is not None:
            await self._kernel.close()

    async def _call(self, code: str) -> CellResult:
        assert self._kernel is not None, "step before reset"
        return await self._kernel.run(code, timeout_s=self._protocol.cell_timeout_s)

    async def _direct(self, action: Action) -> list[CellResult]:
        caller = DirectCalls(self.tools)
        return [await caller.run(call, self._protocol.cell_timeout_s) for call in action.calls]

    def _instructions(self) -> str:
        described = [json.dumps(one, ensure_ascii=False) for one in self._toolset.scene.described]
        return "\n".join([self._protocol.system({}), YEAR, "", self._protocol.tools_heading, *described])

    def _spoken(self) -> Iterator[tuple[Role, str]]:
        """Who says what, user first and last, in turn: texts of the same role follow each other in one message."""
        role: Role = "user"
        texts: list[str] = []
        for speaker, text in self._lines():
            if speaker != role:
                yield role, "\n".join(texts) or OPENING
                role, texts = speaker, []
            texts.append(text)
        if role == "assistant":
            yield role, "\n".join(texts)
            texts = []
        yield "user", "\n\n".join(filter(None, ["\n".join(texts), ASKED]))

    def _lines(self) -> Iterator[tuple[Role, str]]:
        form = self._protocol.form if self._protocol.form in RENDER else "call_code"
        for turn in self._toolset.scene.turns:
            if turn.call is None:
                yield ("user" if turn.speaker == "User" else "assistant"), turn.text
                continue
            yield "assistant", render_call(form, turn.call.name, turn.call.input)
            output = turn.call.output
            yield "user", f"Response: {output if isinstance(output, str) else repr(output)}"
