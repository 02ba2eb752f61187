"""Host functions offered to cells.

Contract: a tool is a named, sync or async callable whose arguments and result are JSON. The kernel gets a plain Python
function with the same signature and docstring; a call travels over the kernel's own socket pair, runs here (sync
functions in a thread, so that a slow one holds up nobody else) and comes back as a value or as an exception of the same
name. Calls per cell and sizes are limited; nothing is ever unpickled.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import json
import keyword
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sandbox.limits import Limits
from sandbox.process import Process

Tool = Callable[..., Any]
Answer = Callable[[str, Any], Awaitable[dict[str, Any]]]
"""From a tool's name and arguments to what :func:`answer_call` gives."""
_LENGTH = struct.Struct("!I")


def describe_tools(tools: Mapping[str, Tool]) -> list[dict[str, Any]]:
    """What the kernel needs to know of each tool. Raises ValueError for a name Python cannot call."""
    return [_describe(name, function) for name, function in tools.items()]


def document_tools(tools: Mapping[str, Tool]) -> str:
    """The tools as a prompt shows them: signature and docstring, from the same source the kernel gets."""
    parts = []
    for name, function in tools.items():
        doc = inspect.getdoc(function) or ""
        body = "".join(f"\n    {line}".rstrip() for line in doc.splitlines())
        parts.append(f"{name}{_signature_text(function)}{body}")
    return "\n\n".join(parts)


def _signature_text(function: Tool) -> str:
    spec = _describe("f", function)
    words = []
    for parameter in inspect.signature(function).parameters.values():
        words.append(str(parameter.replace(annotation=parameter.empty)))
    for index, given in enumerate(spec["parameters"]):
        if given["annotation"]:
            name, _, default = words[index].partition("=")
            words[index] = f"{name}: {given['annotation']}" + (f" = {default}" if default else "")
    returns = f" -> {spec['returns']}" if spec["returns"] else ""
    return f"({', '.join(words)}){returns}"


def _describe(name: str, function: Tool) -> dict[str, Any]:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"tools: {name!r} is not a Python name; choose one a cell can call")
    signature = inspect.signature(function)
    return {
        "name": name,
        "doc": inspect.getdoc(function),
        "returns": _annotation(signature.return_annotation),
        "parameters": [_parameter(parameter) for parameter in signature.parameters.values()],
    }


def _parameter(parameter: inspect.Parameter) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": parameter.name,
        "kind": parameter.kind.name,
        "annotation": _annotation(parameter.annotation),
    }
    if parameter.default is not parameter.empty:
        try:
            spec["default"] = json.loads(json.dumps(parameter.default))
        except TypeError:
            spec["shown"] = repr(parameter.default)
    return spec


def _annotation(annotation: Any) -> str | None:
    if annotation is inspect.Signature.empty:
        return None
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


class ToolServer:
    """Answers one kernel's calls until it is closed."""

    def __init__(self, process: Process, answer: Answer, limits: Limits) -> None:
        self.calls = 0
        """Calls since the cell began; the owner sets it back."""
        self._process, self._answer_call, self._limits = process, answer, limits
        self._task = asyncio.ensure_future(self._serve())

    def close(self) -> None:
        """Stops answering; a call under way is cancelled."""
        self._task.cancel()

    async def _serve(self) -> None:
        loop, sock = asyncio.get_running_loop(), self._process.tools
        try:
            while True:
                (size,) = _LENGTH.unpack(await _exactly(sock, _LENGTH.size))
                if size > self._limits.tool_message_kib * 1024 + 4096:
                    return self._process.kill()
                request = json.loads(await _exactly(sock, size))
                answer = {"id": request["id"], **await self._answer(request)}
                data = json.dumps(answer).encode("ascii")
                await loop.sock_sendall(sock, _LENGTH.pack(len(data)) + data)
        except (ConnectionError, EOFError, OSError):
            return None
        except (ValueError, KeyError, TypeError, RecursionError):  # not what our own toolbox sends
            return self._process.kill()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        if self.calls > self._limits.tool_calls_per_cell:
            limit = self._limits.tool_calls_per_cell
            return _error("RuntimeError", f"this cell has used up its {limit} tool calls")
        answer = await self._answer_call(request["name"], request["arguments"])
        if len(json.dumps(answer)) > self._limits.tool_message_kib * 1024:
            kib = self._limits.tool_message_kib
            return _error("ValueError", f"the result of {request['name']}() is larger than {kib} KiB")
        return answer


async def answer_call(tools: Mapping[str, Tool], name: str, arguments: Any) -> dict[str, Any]:
    """Calls a tool: ``{"result": JSON}``, or ``{"error": {"type", "message"}}`` with a builtin exception's name."""
    function = tools.get(name)
    if function is None or not isinstance(arguments, dict):
        return _error("NameError", f"there is no tool {name!r}")
    try:
        result = await _call(function, arguments)
        json.dumps(result)
    except Exception as error:
        return _error_of(error)
    return {"result": result}


async def _exactly(sock: Any, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        more = await loop.sock_recv(sock, min(size - len(data), 1 << 16))
        if not more:
            raise EOFError
        data += more
    return data


async def _call(function: Tool, arguments: dict[str, Any]) -> Any:
    bound = inspect.BoundArguments(inspect.signature(function), dict(arguments))
    if inspect.iscoroutinefunction(function):
        return await function(*bound.args, **bound.kwargs)
    result = await asyncio.to_thread(function, *bound.args, **bound.kwargs)
    return await result if inspect.isawaitable(result) else result


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message}}


def _error_of(error: Exception) -> dict[str, Any]:
    """The builtin exception of the same name, else the nearest builtin ancestor, else RuntimeError."""
    message = str(error.args[0]) if len(error.args) == 1 else str(error)
    for kind in type(error).__mro__:
        found = getattr(builtins, kind.__name__, None)
        if isinstance(found, type) and issubclass(found, Exception) and found is not Exception:
            return _error(kind.__name__, message)
    return _error("RuntimeError", message)
