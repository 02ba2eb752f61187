"""Calls of functions without code: the actions of JSON, text and native protocols.

Contract: a call runs the very function that cells call, on the host, through :class:`sandbox.ToolInvoker`: the same
checks of arguments, the same exceptions. Its result is a :class:`sandbox.CellResult`, so it is worded as that of a
cell whose last line is the call. Nothing runs in a kernel.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rollout.bank.trajectory import ToolCall
from rollout.protocol.wording import summary, tool_lines
from sandbox import CellResult, ToolInvoker, tool_schemas

Tool = Callable[..., Any]
PYTHON = "python"
"""The native tool that runs a cell."""
_CODE = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}
_RUNS = "Runs Python in a session that keeps its variables, and shows what it prints."


def native_tools(tools: Mapping[str, Tool], python: bool) -> list[dict[str, Any]]:
    """The functions in the form of OpenAI's API; with ``python``, one that runs a cell in which they exist, too."""
    schemas = tool_schemas(tools)
    described = [(name, summary(tool), _object(schemas[name], tool)) for name, tool in tools.items()]
    if python:
        listed = "\n".join(tool_lines(tools))
        described.append((PYTHON, f"{_RUNS} Its code can call:\n{listed}" if tools else _RUNS, _CODE))
    return [
        {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}
        for name, text, schema in described
    ]


def _object(schema: dict[str, Any] | None, tool: Tool) -> dict[str, Any]:
    """The arguments as an object, which is all that the API knows; ``*names`` are a list of this name."""
    if schema is not None and schema.get("type") == "object":
        return schema
    parameters = inspect.signature(tool).parameters.values()
    properties = {one.name: {"type": "array"} if one.kind is one.VAR_POSITIONAL else {} for one in parameters}
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = [one.name for one in parameters if one.default is one.empty and one.kind not in optional]
    return {"type": "object", "properties": properties, "required": required}


class DirectCalls:
    """Calls the functions of one episode."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools, self._invoker = dict(tools), ToolInvoker(tools)

    async def run(self, call: ToolCall, timeout_s: float) -> CellResult:
        """The result of one call. Never raises for what the function does."""
        started = time.monotonic()
        try:
            arguments = self._named(call)
            answer = await asyncio.wait_for(self._invoker.invoke(call.name, arguments), timeout_s)
        except TimeoutError:
            return CellResult(status="timeout_interrupted", seconds=time.monotonic() - started, tool_calls=1)
        except (TypeError, ValueError) as error:
            answer = {"error": {"type": type(error).__name__, "message": str(error)}}
        seconds = time.monotonic() - started
        if "error" in answer:
            name, value = answer["error"]["type"], answer["error"]["message"]
            return CellResult(status="error", error_name=name, error_value=value, seconds=seconds, tool_calls=1)
        result = answer["result"]
        shown = result if isinstance(result, str) else None if result is None else repr(result)
        return CellResult(status="ok", value=shown, seconds=seconds, tool_calls=1)

    def _named(self, call: ToolCall) -> dict[str, Any]:
        """The arguments by parameter. Raises TypeError or ValueError as a call in Python does."""
        if call.name not in self._tools:
            return {}  # the invoker answers with a NameError
        given = json.loads(call.arguments or "{}")
        signature = inspect.signature(self._tools[call.name], eval_str=True)
        positional: Sequence[Any] = given if isinstance(given, list) else ()
        named: dict[str, Any] = given if isinstance(given, dict) else {}
        if not isinstance(given, list | dict):
            raise TypeError(f"{call.name}() takes its arguments as an object or a list")
        if TEXTS in named:
            positional, named = _from_texts(named[TEXTS], signature)
        positional, named = _spread(positional, named, signature)
        try:
            return dict(signature.bind(*positional, **named).arguments)
        except TypeError as error:
            raise TypeError(f"{call.name}() {error}") from None


def _spread(
    positional: Sequence[Any], named: dict[str, Any], signature: inspect.Signature
) -> tuple[Sequence[Any], dict[str, Any]]:
    """A list given under the name of ``*names`` becomes arguments of its own."""
    rest = next((one.name for one in signature.parameters.values() if one.kind is one.VAR_POSITIONAL), None)
    if rest is None or not isinstance(named.get(rest), list):
        return positional, named
    before = [name for name in list(signature.parameters)[: list(signature.parameters).index(rest)] if name in named]
    others = {name: value for name, value in named.items() if name not in (rest, *before)}
    return [*positional, *(named[name] for name in before), *named[rest]], others


TEXTS = ""
"""The key of arguments that are written as text, without types."""


def _from_texts(texts: list[str], signature: inspect.Signature) -> tuple[list[Any], dict[str, Any]]:
    """Arguments written as text: quoted or not, in order or as ``name=value``."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    parameters = list(signature.parameters.values())
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and name.strip() in signature.parameters:
            named[name.strip()] = _value(value.strip(), signature.parameters[name.strip()])
        else:
            last = parameters[-1] if parameters else None
            parameter = parameters[len(positional)] if len(positional) < len(parameters) else last
            positional.append(_value(text, parameter))
    return positional, named


def _value(text: str, parameter: inspect.Parameter | None) -> Any:
    """The value of a text; without quotes it is a text where the parameter asks for one."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text
    wants_text = parameter is not None and parameter.annotation is str
    return text if wants_text and not isinstance(value, str) else value
