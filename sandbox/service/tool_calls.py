"""Tools of a client: functions cells can call whose bodies are at the other end of the HTTP connection.

Contract: a client that creates a kernel describes its tools as :func:`sandbox.tools.describe.describe_tools` does. A
call becomes an event ``tool_call`` of the cell that runs and waits for the client's answer, within the cell's time. It
can only be heard by a client that listens to events. A forked kernel's calls are events of its own cells.
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

from sandbox.guest.tool_proxies import Shown, exception_of
from sandbox.service.errors import Refused
from sandbox.tools.describe import Tool

CHANNEL: ContextVar[ToolChannel] = ContextVar("channel")
"""The channel of the kernel being worked for; its tool server inherits it from whatever call started its process."""
Say = Callable[[dict[str, Any]], None]


class ParameterForm(BaseModel):
    """One parameter of a tool."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    kind: Literal["POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD", "VAR_POSITIONAL", "KEYWORD_ONLY", "VAR_KEYWORD"]
    annotation: str | None = Field(None, max_length=1000)
    default: Any = None
    """The default as JSON, when it is given at all (null counts)."""
    shown: str | None = Field(None, max_length=1000)
    """How a default that is no JSON is shown; the client fills it in."""


class ToolForm(BaseModel):
    """A tool as the kernel shows it to cells."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)
    doc: str | None = Field(None, max_length=20_000)
    returns: str | None = Field(None, max_length=1000)
    parameters: list[ParameterForm] = Field([], max_length=50)


class ToolChannel:
    """The calls of one kernel's tools on their way to its client and back."""

    def __init__(self) -> None:
        self._say: Say | None = None
        self._waiting: dict[str, asyncio.Future[Any]] = {}

    @contextmanager
    def through(self, say: Say) -> Iterator[None]:
        """While a cell runs: its events carry the calls. Calls without an answer end with it, as errors."""
        self._say = say
        try:
            yield
        finally:
            self._say = None
            for future in self._waiting.values():
                if not future.done():  # cancelling it would cancel whoever serves the kernel's calls
                    future.set_exception(RuntimeError("the cell ended before the call was answered"))

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Asks the client; raises what it answered."""
        if self._say is None:
            raise RuntimeError(f"{name}() can be called only while a cell runs")
        number = secrets.token_hex(8)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._say({"event": "tool_call", "call": number, "name": name, "arguments": arguments})
            return await future
        finally:
            del self._waiting[number]

    def answer(self, call: str, result: Any, error: tuple[str, str] | None) -> None:
        """The client's answer. Raises :class:`Refused` when nobody waits for it."""
        future = self._waiting.get(call)
        if future is None or future.done():
            raise Refused("not_found", f"no cell waits for an answer to call {call!r}")
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(_exception(*error))


def stand_ins(forms: list[ToolForm]) -> dict[str, Tool]:
    """Functions with the tools' signatures that ask the client.

    Raises ValueError for what is no signature, and for two tools of one name.
    """
    tools: dict[str, Tool] = {}
    for form in forms:
        if form.name in tools:
            raise ValueError(f"tools: two are named {form.name}; give each a name of its own")
        tools[form.name] = _stand_in(form)
    return tools


def _stand_in(form: ToolForm) -> Tool:
    async def ask(*args: Any, **kwargs: Any) -> Any:
        return await CHANNEL.get().call(form.name, dict(signature.bind(*args, **kwargs).arguments))

    returns = inspect.Signature.empty if form.returns is None else form.returns
    try:
        signature = inspect.Signature([_parameter(each) for each in form.parameters], return_annotation=returns)
    except ValueError as error:
        raise ValueError(f"tools: {form.name}: {error}") from None
    ask.__signature__ = signature  # type: ignore[attr-defined]
    ask.__doc__ = form.doc
    return ask


def _parameter(form: ParameterForm) -> inspect.Parameter:
    default: Any = inspect.Parameter.empty
    if form.shown is not None:
        default = Shown(form.shown)
    elif "default" in form.model_fields_set:
        default = form.default
    annotation = inspect.Parameter.empty if form.annotation is None else form.annotation
    return inspect.Parameter(form.name, inspect._ParameterKind[form.kind], default=default, annotation=annotation)


def _exception(name: str, message: str) -> Exception:
    if name == "StopIteration":  # no coroutine can raise it
        return RuntimeError(f"{name}: {message}")
    return exception_of(name, message)
