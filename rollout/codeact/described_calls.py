"""The environment of BFCL: a request, described functions, and the calls that the model makes in one turn.

Contract: an episode has one turn. Python runs in a kernel, in which every described function exists and returns
nothing; calls in JSON (``calls_json``) and native calls of a chat server (``tools``) are read. Either way the host
keeps the calls, and a grader compares them with the possible answers: no text that a cell prints decides. A turn
without calls is an answer, too: that no function fits. Cost: a kernel where the turn has code, else a millisecond.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rollout.bank.trajectory import CellOutcome, Grading, Message, Outcome, ToolCall
from rollout.codeact.verdicts import Verdicts, outcome_of
from rollout.environment import Action, Budget, EnvironmentFault, Observation, ended
from rollout.families.base import Task
from rollout.graders.calls import POSITIONAL
from rollout.kernel_source import EpisodeKernel, KernelSource
from rollout.protocol import EpisodeProtocol
from rollout.protocol.call_lists import MOST_CALLS, native_name, without_dots
from sandbox import CellResult

_FORMS = ("calls_python", "calls_json", "tools")
_JSON_TYPES: Mapping[str, str | None] = {"dict": "object", "float": "number", "tuple": "array", "any": None}
"""The data set's names of types that JSON Schema does not have, and its names for them; null: any value."""
_LONGEST = 40_000
"""Characters of the arguments of a call, as JSON; those of a longer call are not kept."""


class DescribedCallsEnvironment:
    """A task whose reference has ``functions``, each with ``name``, ``description`` and ``parameters``."""

    def __init__(self, task: Task, kernels: KernelSource, protocol: EpisodeProtocol) -> None:
        self._task, self._kernels, self._protocol = task, kernels, protocol
        self._functions: list[dict[str, Any]] = json.loads(task.answer)["functions"]
        self._names = {native_name(one["name"]): one["name"] for one in self._functions}
        self._kernel: EpisodeKernel | None = None
        self._made: list[dict[str, Any]] = []
        """The calls that cells have made, in their order."""
        self._verdicts = Verdicts(task, kernels)
        self.tools: Mapping[str, Callable[..., Any]] = {
            native: self._function(native, name) for native, name in self._names.items()
        }

    @property
    def grading(self) -> Grading | None:
        """The verdict, with what is needed to judge again; None before the turn."""
        return self._verdicts.grading

    @property
    def reference(self) -> str:
        """The possible answers, for a judge that gives feedback."""
        return json.dumps(json.loads(self._task.answer)["calls"], ensure_ascii=False)

    @property
    def native_tools(self) -> Sequence[Mapping[str, Any]]:
        """The functions for an engine with native calls; empty under other protocols."""
        return [native_tool(one) for one in self._functions] if self._protocol.form == "tools" else ()

    def prompt(self) -> Sequence[Message]:
        """Instructions with the descriptions of the functions, then the request."""
        described = [json.dumps(one, ensure_ascii=False) for one in self._functions]
        listed = [] if self._protocol.form == "tools" else ["", self._protocol.tools_heading, *described]
        instructions = "\n".join([self._protocol.system({}), *listed])
        if self._protocol.instructions_role == "user":
            return [Message(role="user", kind="task", content=f"{instructions}\n\n{self._task.prompt}")]
        return [
            Message(role="system", kind="instruction", content=instructions),
            Message(role="user", kind="task", content=self._task.prompt),
        ]

    async def reset(self) -> None:
        """Checks the protocol. A kernel is acquired when a turn has code.

        Raises:
            EnvironmentFault: the protocol has no form for many calls.
        """
        if self._protocol.form not in _FORMS:
            raise EnvironmentFault(
                "task",
                f"protocol.form={self._protocol.form}: a task of bfcl is a list of calls; choose the protocol "
                "bfcl-code, bfcl-json or bfcl-tools",
            )

    def parse(self, text: str) -> Action:
        """The code or the calls in a turn. Under native calls a turn without any says that none is right."""
        return Action("proposal", text) if self._protocol.form == "tools" else self._protocol.parse(text)

    async def step(self, action: Action, budget: Budget) -> Observation | Outcome:
        """Makes the calls and compares them with the possible answers."""
        runs = self._protocol.form == "calls_python" and action.body
        result = await self._run(action.body) if runs else None
        outcome = await self._judged(self._written(action, result))
        if action.kind == "invalid":
            return ended("max_invalid")
        if result is None:
            return outcome
        cell = CellOutcome(
            status=result.status,
            error_name=result.error_name,
            seconds=round(result.seconds, 4),
            tool_calls=len(self._made),
        )
        return Observation(self._protocol.observation(result, budget), cell=cell, outcome=outcome)

    async def close(self) -> None:
        """Destroys the kernel."""
        if self._kernel is not None:
            await self._kernel.close()

    def _function(self, native: str, name: str) -> Callable[..., Any]:
        """The described function as cells see it: it takes any arguments and keeps them on the host."""

        async def call(*positional: Any, **named: Any) -> None:
            if len(self._made) > MOST_CALLS:
                raise RuntimeError(f"more than {MOST_CALLS} calls were made")
            arguments = {**({POSITIONAL: positional} if positional else {}), **named}
            kept = arguments if len(json.dumps(arguments)) <= _LONGEST else {}
            self._made.append({"name": name, "arguments": kept})

        call.__name__ = call.__qualname__ = native
        return call

    async def _run(self, code: str) -> CellResult:
        self._kernel = await self._kernels.acquire(tools=self.tools)
        dotted = {name: native for native, name in self._names.items() if "." in name}
        return await self._kernel.run(without_dots(code, dotted), timeout_s=self._protocol.cell_timeout_s)

    def _written(self, action: Action, result: CellResult | None) -> str:
        """What the grader reads: the calls as JSON, or why there are none."""
        error = ""
        calls: list[dict[str, Any]] | None = None
        if action.kind == "invalid":
            error = "a call has no end, or it is no call"
        elif result is not None:
            failed = result.status != "ok"
            error = f"{result.error_name or result.status}: {result.error_value or ''}"[:200] if failed else ""
            calls = self._made or (None if failed else [])
        else:
            try:
                calls = [self._call(call) for call in action.calls]
            except (ValueError, RecursionError) as fault:
                error = str(fault)
        try:
            text = json.dumps({"calls": calls, "error": error}, ensure_ascii=False)
        except RecursionError:
            text = json.dumps({"calls": None, "error": "an argument is nested too deeply"})
        return text.encode(errors="replace").decode()  # half a surrogate pair cannot be stored

    def _call(self, call: ToolCall) -> dict[str, Any]:
        arguments = json.loads(call.arguments or "{}")
        if not isinstance(arguments, dict):
            raise ValueError(f"the arguments of {call.name} are no object")
        native = self._protocol.form == "tools"
        return {"name": self._names.get(call.name, call.name) if native else call.name, "arguments": arguments}

    async def _judged(self, proposed: str) -> Outcome:
        return outcome_of(await self._verdicts.judge(proposed))


def native_tool(function: Mapping[str, Any]) -> dict[str, Any]:
    """A function in the form of OpenAI's API."""
    described = {
        "name": native_name(function["name"]),
        "description": function["description"],
        "parameters": json_schema(function["parameters"]),
    }
    return {"type": "function", "function": described}


def json_schema(schema: Any) -> Any:
    """A description with the types of JSON Schema in place of those of Python."""
    if isinstance(schema, list):
        return [json_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key not in ("items", "properties", "type")}
    if "items" in schema:
        kept["items"] = json_schema(schema["items"])
    if isinstance(schema.get("properties"), dict):
        kept["properties"] = {name: json_schema(one) for name, one in schema["properties"].items()}
    if "type" in schema and (kind := _JSON_TYPES.get(schema["type"], schema["type"])):
        kept["type"] = kind
    return kept
