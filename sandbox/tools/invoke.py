"""Calls of one kernel's tools: arguments checked against the signature, functions run where they hold up nobody.

Contract: :meth:`Caller.answer` never raises for what a tool does, sync or async, but for its own cancellation. Values
are checked by pydantic as the annotations say, and made what they say (a list for a tuple, text for a date or an enum),
but an int for a float stays one; a signature pydantic has no schema for is not checked. A sync function gets a thread
of its own, which is left behind when the cell that wanted it is over; a kernel may leave :data:`UNFINISHED` of them
before its calls are refused, so that it can use up no more than its own share of threads. The first call of a tool
costs about a millisecond, for the check.
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

UNFINISHED = 4
"""Calls of sync functions of one kernel at a time."""
Answer = Callable[[str, Any], Awaitable[dict[str, Any]]]
"""From a tool's name and arguments to what :meth:`Caller.answer` gives."""
Outcome = tuple[Any, BaseException | None]
Bound = tuple[tuple[Any, ...], dict[str, Any]]
_UNKNOWN = (PydanticUserError, PydanticUndefinedAnnotation, NameError, TypeError, AttributeError, KeyError)
"""What pydantic and typing say of annotations they cannot read."""


class Caller:
    """The tools of one kernel."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = dict(tools)
        self._bindings: dict[str, Callable[[dict[str, Any]], Bound]] = {}
        self._unfinished = 0

    async def answer(self, name: str, arguments: Any) -> dict[str, Any]:
        """``{"result": JSON}``, or ``{"error": {"type", "message"}}`` with a builtin exception's name."""
        function = self._tools.get(name)
        if function is None or not isinstance(arguments, dict):
            return error_answer("NameError", f"there is no tool {name!r}")
        try:
            if name not in self._bindings:
                self._bindings[name] = _binding(function)
            given, named = self._bindings[name](arguments)
        except ValidationError as refused:
            return error_answer("TypeError", f"{name}() {_sentence(refused, function)}")
        try:
            if inspect.iscoroutinefunction(function):
                result = await function(*given, **named)
            else:
                result, failure = await self._in_thread(function, given, named)
                if failure is not None:
                    return _answer_of(failure)
                result = await result if inspect.isawaitable(result) else result
            json.dumps(result)
        except (Exception, SystemExit) as error:
            return _answer_of(error)
        return {"result": result}

    async def _in_thread(self, function: Tool, given: tuple[Any, ...], named: dict[str, Any]) -> Outcome:
        if self._unfinished >= UNFINISHED:
            raise RuntimeError(f"{self._unfinished} calls of cells that are over are still running; try again later")
        loop, context = asyncio.get_running_loop(), copy_context()
        done: asyncio.Future[Outcome] = loop.create_future()

        def tell(result: Any, error: BaseException | None) -> None:
            self._unfinished -= 1
            if not done.done():
                done.set_result((result, error))

        def run() -> None:
            outcome: Outcome
            try:
                outcome = (context.run(function, *given, **named), None)
            except BaseException as error:  # as a value: no future and no coroutine takes a StopIteration
                outcome = (None, error)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, *outcome)

        self._unfinished += 1
        threading.Thread(target=run, name="tool", daemon=True).start()
        return await done


def tool_schemas(tools: Mapping[str, Tool]) -> dict[str, dict[str, Any] | None]:
    """JSON schemas of the arguments, by name; None where pydantic has none for the signature.

    Raises ValueError as :func:`describe_tools` does.
    """
    describe_tools(tools)
    found: dict[str, dict[str, Any] | None] = {}
    for name, function in tools.items():
        try:
            signature: Any = _collector(function)
            found[name] = TypeAdapter(signature).json_schema()
        except _UNKNOWN:
            found[name] = None
    return found


def error_answer(kind: str, message: str) -> dict[str, Any]:
    """An answer that raises a builtin exception in the cell."""
    return {"error": {"type": kind, "message": message}}


def _binding(function: Tool) -> Callable[[dict[str, Any]], Bound]:
    """From arguments by name to those of a call."""
    signature = inspect.signature(function)

    def bind(arguments: dict[str, Any]) -> Bound:
        bound = inspect.BoundArguments(signature, dict(arguments))
        return bound.args, bound.kwargs

    try:
        check = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(_collector(function))
    except _UNKNOWN:
        return bind

    def bind_and_check(arguments: dict[str, Any]) -> Bound:
        given, named = bind(arguments)
        positional, by_name = check(*given, **named)
        kept = [_kept(old, new) for old, new in zip(given, positional, strict=False)]
        return (*kept, *positional[len(given) :]), {name: _kept(named.get(name), by_name[name]) for name in by_name}

    return bind_and_check


def _kept(given: Any, checked: Any) -> Any:
    """What the annotation makes of it, but an int given for a float stays one, as in a call in Python."""
    if type(given) is int and type(checked) is float and given == checked:
        return given
    if type(given) is type(checked) is list and len(given) == len(checked):
        return [_kept(old, new) for old, new in zip(given, checked, strict=True)]
    if type(given) is type(checked) is dict and len(given) == len(checked):
        return {key: _kept(old, checked[key]) for old, key in zip(given.values(), checked, strict=True)}
    return checked


def _collector(function: Tool) -> Callable[..., Bound]:
    """A function of the same signature that returns its arguments."""

    def collect(*given: Any, **named: Any) -> Bound:
        return given, named

    parameters = list(inspect.signature(function).parameters.values())
    if any(isinstance(p.annotation, str) for p in parameters):
        hints = get_type_hints(_written(function), include_extras=True)
        # a name that is not there must fail: pydantic would evaluate the text, which may be a stranger's
        parameters = [p.replace(annotation=hints[p.name]) if isinstance(p.annotation, str) else p for p in parameters]
    collect.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    collect.__annotations__ = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
    return collect


def _written(tool: Any) -> Any:
    """The function in which a tool's annotations are written."""
    tool = inspect.unwrap(tool)
    if isinstance(tool, partial):
        return _written(tool.func)
    if isinstance(tool, type):
        return tool.__init__  # type: ignore[misc]
    return tool if inspect.isroutine(tool) else type(tool).__call__


def _sentence(refused: ValidationError, function: Tool) -> str:
    names = dict(enumerate(inspect.signature(function).parameters))
    parts = []
    for fault in refused.errors(include_url=False, include_context=False, include_input=False):
        first, *inner = fault["loc"]
        place = ".".join(str(part) for part in (names.get(first, first), *inner))  # type: ignore[arg-type]
        parts.append(f"argument {place}: {fault['msg']}")
    return "; ".join(parts[:3])


def _answer_of(error: BaseException) -> dict[str, Any]:
    """The builtin exception of the same name; else the next builtin ancestor or RuntimeError, which says the name."""
    own = type(error).__name__
    names = [kind.__name__ for kind in type(error).__mro__ if kind is not Exception or own == "Exception"]
    arrives = next((name for name in names if type(build_exception(name, "")).__name__ == name), "RuntimeError")
    return error_answer(arrives, _message(error) if arrives == own else _told(error))


def _message(error: BaseException) -> str:
    """What it says, and what the first members of a group say."""
    message = str(error.args[0]) if len(error.args) == 1 else str(error)
    if isinstance(error, BaseExceptionGroup):
        message += ": " + "; ".join(map(_told, error.exceptions[:3]))
    return message


def _told(error: BaseException) -> str:
    name, message = type(error).__name__, _message(error)
    return f"{name}: {message}" if message else name
