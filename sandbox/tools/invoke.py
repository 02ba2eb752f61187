"""Calls the tools of one kernel: checks arguments against the signature, runs sync functions in threads.

Contract: :meth:`ToolInvoker.invoke` raises only when it is cancelled, never for what a tool does, sync or async.
pydantic checks and converts arguments by the annotations (a list to a tuple, text to a date or an enum), but an int for
a float stays an int; signatures without a pydantic schema are not checked. A sync function runs in a new thread, which
goes on when its cell ends; after :data:`MAX_UNFINISHED` such threads a kernel's calls are refused, which bounds its
share of threads. The first call of a tool costs about a millisecond, for its schema.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError, validate_call
from pydantic.errors import PydanticUndefinedAnnotation

from sandbox.guest.tool_proxies import build_exception
from sandbox.tools.describe import Tool, describe_tools

MAX_UNFINISHED = 4
"""Running calls of sync functions of one kernel."""
Invoke = Callable[[str, Any], Awaitable[dict[str, Any]]]
"""Takes a tool's name and arguments, returns an answer as :meth:`ToolInvoker.invoke` does."""
Returned = tuple[Any, BaseException | None]
Bound = tuple[tuple[Any, ...], dict[str, Any]]
_UNKNOWN = (PydanticUserError, PydanticUndefinedAnnotation, NameError, TypeError, AttributeError, KeyError)
"""What pydantic and typing raise for annotations they cannot read."""


class ToolInvoker:
    """Calls the tools of one kernel."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = dict(tools)
        self._binders: dict[str, Callable[[dict[str, Any]], Bound]] = {}
        self._unfinished = 0

    async def invoke(self, name: str, arguments: Any) -> dict[str, Any]:
        """``{"result": JSON}``, or ``{"error": {"type", "message"}}`` with a builtin exception's name."""
        function = self._tools.get(name)
        if function is None or not isinstance(arguments, dict):
            return error_answer("NameError", f"there is no tool {name!r}")
        try:
            if name not in self._binders:
                self._binders[name] = _make_binder(function)
            given, named = self._binders[name](arguments)
        except ValidationError as refused:
            return error_answer("TypeError", f"{name}() {_format_faults(refused, function)}")
        try:
            if inspect.iscoroutinefunction(function):
                result = await function(*given, **named)
            else:
                result, failure = await self._in_thread(function, given, named)
                if failure is not None:
                    return _exception_answer(failure)
                result = await result if inspect.isawaitable(result) else result
            json.dumps(result)
        except (Exception, SystemExit) as error:
            return _exception_answer(error)
        return {"result": result}

    async def _in_thread(self, function: Tool, given: tuple[Any, ...], named: dict[str, Any]) -> Returned:
        if self._unfinished >= MAX_UNFINISHED:
            raise RuntimeError(f"{self._unfinished} calls of earlier cells are still running; try again later")
        loop, context = asyncio.get_running_loop(), copy_context()
        done: asyncio.Future[Returned] = loop.create_future()

        def finish(result: Any, error: BaseException | None) -> None:
            self._unfinished -= 1
            if not done.done():
                done.set_result((result, error))

        def run() -> None:
            outcome: Returned
            try:
                outcome = (context.run(function, *given, **named), None)
            except BaseException as error:  # as a value: futures and coroutines cannot raise StopIteration
                outcome = (None, error)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(finish, *outcome)

        self._unfinished += 1
        threading.Thread(target=run, name="tool", daemon=True).start()
        return await done


def tool_schemas(tools: Mapping[str, Tool]) -> dict[str, dict[str, Any] | None]:
    """JSON schemas of the arguments, by tool name; None for signatures without a pydantic schema.

    Raises ValueError as :func:`describe_tools` does.
    """
    describe_tools(tools)
    found: dict[str, dict[str, Any] | None] = {}
    for name, function in tools.items():
        try:
            signature: Any = _argument_collector(function)
            found[name] = TypeAdapter(signature).json_schema()
        except _UNKNOWN:
            found[name] = None
    return found


def error_answer(kind: str, message: str) -> dict[str, Any]:
    """An answer that raises a builtin exception in the cell."""
    return {"error": {"type": kind, "message": message}}


def _make_binder(function: Tool) -> Callable[[dict[str, Any]], Bound]:
    """A function from arguments by name to the checked arguments of a call."""
    signature = inspect.signature(function)

    def bind(arguments: dict[str, Any]) -> Bound:
        bound = inspect.BoundArguments(signature, dict(arguments))
        return bound.args, bound.kwargs

    try:
        check = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(_argument_collector(function))
    except _UNKNOWN:
        return bind

    def bind_and_check(arguments: dict[str, Any]) -> Bound:
        given, named = bind(arguments)
        positional, by_name = check(*given, **named)
        kept = [_keep_ints(old, new) for old, new in zip(given, positional, strict=False)]
        named = {name: _keep_ints(named.get(name), by_name[name]) for name in by_name}
        return (*kept, *positional[len(given) :]), named

    return bind_and_check


def _keep_ints(given: Any, checked: Any) -> Any:
    """The converted value, with every int that pydantic made a float put back, as in a Python call."""
    if type(given) is int and type(checked) is float and given == checked:
        return given
    if type(given) is type(checked) is list and len(given) == len(checked):
        return [_keep_ints(old, new) for old, new in zip(given, checked, strict=True)]
    if type(given) is type(checked) is dict and len(given) == len(checked):
        return {key: _keep_ints(old, checked[key]) for old, key in zip(given.values(), checked, strict=True)}
    return checked


def _argument_collector(function: Tool) -> Callable[..., Bound]:
    """A function of the same signature that returns its arguments."""

    def collect(*given: Any, **named: Any) -> Bound:
        return given, named

    parameters = list(inspect.signature(function).parameters.values())
    if any(isinstance(p.annotation, str) for p in parameters):
        hints = get_type_hints(_annotated_function(function), include_extras=True)
        # unknown names must fail here: pydantic would evaluate the text, which a remote client may have written
        parameters = [p.replace(annotation=hints[p.name]) if isinstance(p.annotation, str) else p for p in parameters]
    collect.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    collect.__annotations__ = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    return collect


def _annotated_function(tool: Any) -> Any:
    """The function that holds a tool's annotations."""
    tool = inspect.unwrap(tool)
    if isinstance(tool, partial):
        return _annotated_function(tool.func)
    if isinstance(tool, type):
        return tool.__init__  # type: ignore[misc]
    return tool if inspect.isroutine(tool) else type(tool).__call__


def _format_faults(refused: ValidationError, function: Tool) -> str:
    names = dict(enumerate(inspect.signature(function).parameters))
    parts = []
    for fault in refused.errors(include_url=False, include_context=False, include_input=False):
        first, *inner = fault["loc"]
        argument = ".".join(str(part) for part in (names.get(first, first), *inner))  # type: ignore[arg-type]
        parts.append(f"argument {argument}: {fault['msg']}")
    return "; ".join(parts[:3])


def _exception_answer(error: BaseException) -> dict[str, Any]:
    """A builtin exception: the one of the same name, else the nearest builtin base or RuntimeError with the name."""
    own = type(error).__name__
    names = [kind.__name__ for kind in type(error).__mro__ if kind is not Exception or own == "Exception"]
    arrives = next((name for name in names if type(build_exception(name, "")).__name__ == name), "RuntimeError")
    return error_answer(arrives, _message(error) if arrives == own else _named_message(error))


def _message(error: BaseException) -> str:
    """The exception's message; for a group, also those of its first members."""
    message = str(error.args[0]) if len(error.args) == 1 else str(error)
    if isinstance(error, BaseExceptionGroup):
        message += ": " + "; ".join(map(_named_message, error.exceptions[:3]))
    return message


def _named_message(error: BaseException) -> str:
    name, message = type(error).__name__, _message(error)
    return f"{name}: {message}" if message else name
