"""Tools of HTTP clients: functions that cells call and the client runs.

Contract: a client that creates a kernel describes its tools as :func:`sandbox.tools.describe.describe_tools` does. A
call becomes an event ``tool_call`` of the running cell and waits for the client's answer, within the cell's time limit.
Only a client that streams events receives it. A forked kernel's calls are events of its own cells.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sandbox.guest.tool_proxies import OpaqueValue, build_exception
from sandbox.service.errors import ApiError
from sandbox.tools.describe import Tool

CURRENT_CHANNEL: ContextVar[ToolChannel] = ContextVar("channel")
"""The channel of the kernel in use; its tool server inherits it from the call that started the kernel's process."""
Emit = Callable[[dict[str, Any]], None]


class ParameterSpec(BaseModel):
    """One parameter of a tool."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    kind: Literal["POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD", "VAR_POSITIONAL", "KEYWORD_ONLY", "VAR_KEYWORD"]
    annotation: str | None = Field(None, max_length=1000)
    default: Any = None
    """The default as JSON; null is a default, an absent key is none."""
    shown: str | None = Field(None, max_length=1000)
    """The text that signatures show for a default that is no JSON; the client fills the value in."""


class ToolSpec(BaseModel):
    """Name, docstring and signature of a tool."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    doc: str | None = Field(None, max_length=20_000)
    returns: str | None = Field(None, max_length=1000)
    parameters: list[ParameterSpec] = Field([], max_length=50)


class ToolChannel:
    """Carries calls of one kernel's tools to its client and the answers back."""

    def __init__(self) -> None:
        self._emit: Emit | None = None
        self._waiting: dict[str, asyncio.Future[Any]] = {}

    @contextmanager
    def connect(self, emit: Emit) -> Iterator[None]:
        """Sends calls as events of the cell that runs in this block. Calls without an answer fail at its end."""
        self._emit = emit
        try:
            yield
        finally:
            self._emit = None
            for future in self._waiting.values():
                if not future.done():  # cancelling it would cancel the task that serves the kernel's calls
                    future.set_exception(RuntimeError("the cell ended before the call was answered"))

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """The client's answer to a call. Raises the exception it answered with."""
        if self._emit is None:
            raise RuntimeError(f"{name}() can be called only while a cell runs")
        number = secrets.token_hex(8)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._emit({"event": "tool_call", "call": number, "name": name, "arguments": arguments})
            return await future
        finally:
            del self._waiting[number]

    def answer(self, call: str, result: Any, error: tuple[str, str] | None) -> None:
        """Delivers the client's answer. Raises :class:`ApiError` when no call waits for it."""
        future = self._waiting.get(call)
        if future is None or future.done():
            raise ApiError("not_found", f"no cell waits for an answer to call {call!r}")
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(_exception(*error))


def remote_tools(forms: list[ToolSpec]) -> dict[str, Tool]:
    """Functions with the tools' signatures that call the client.

    Raises ValueError for an invalid signature, and for two tools of one name.
    """
    tools: dict[str, Tool] = {}
    for form in forms:
        if form.name in tools:
            raise ValueError(f"tools: two are named {form.name}; names must differ")
        tools[form.name] = _remote_tool(form)
    return tools


def _remote_tool(form: ToolSpec) -> Tool:
    async def ask(*args: Any, **kwargs: Any) -> Any:
        return await CURRENT_CHANNEL.get().call(form.name, dict(signature.bind(*args, **kwargs).arguments))

    returns = inspect.Signature.empty if form.returns is None else form.returns
    try:
        signature = inspect.Signature([_parameter(each) for each in form.parameters], return_annotation=returns)
    except ValueError as error:
        raise ValueError(f"tools: {form.name}: {error}") from None
    ask.__signature__ = signature  # type: ignore[attr-defined]
    ask.__doc__ = form.doc
    return ask


def _parameter(form: ParameterSpec) -> inspect.Parameter:
    default: Any = inspect.Parameter.empty
    if form.shown is not None:
        default = OpaqueValue(form.shown)
    elif "default" in form.model_fields_set:
        default = form.default
    annotation = inspect.Parameter.empty if form.annotation is None else form.annotation
    return inspect.Parameter(form.name, inspect._ParameterKind[form.kind], default=default, annotation=annotation)


def _exception(name: str, message: str) -> Exception:
    if name == "StopIteration":  # no coroutine can raise it
        return RuntimeError(f"{name}: {message}")
    return build_exception(name, message)
