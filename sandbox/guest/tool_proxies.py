"""Host functions inside the kernel: plain Python functions whose bodies are a question to the host.

Contract: arguments and results are JSON (numpy scalars and arrays, sets and tuples are turned into it on the way out);
a host's exception is raised here as the builtin it arrives as; what is larger than the host reads is refused before it
is sent. One question at a time, over an inherited socket: four bytes of length, then JSON. A call may be interrupted
anywhere, by whatever a signal raises: the next one sends the rest of its question and skips its answer.
"""

from __future__ import annotations

import builtins
import inspect
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import CodeType
from typing import Any

_LENGTH = struct.Struct("!I")


HERE: Toolbox
"""The toolbox of this kernel."""


class Shown:
    """Stands for an annotation or a default the host could only describe."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class Toolbox:
    """The kernel's end of the tool connection."""

    def __init__(self, sock: socket.socket, message_kib: int) -> None:
        """``message_kib``: the most the arguments of a call may come to."""
        self._message_kib, self._asked = message_kib, 0
        self._begin(sock)

    def adopt(self, fd: int) -> None:
        """Goes on with another connection, in a forked kernel."""
        self._sock.close()
        self._begin(socket.socket(fileno=fd))

    def _begin(self, sock: socket.socket) -> None:
        self._sock, self._lock, self._pid = sock, threading.RLock(), os.getpid()
        self._going: tuple[bytes, list[int]] = b"", []
        """What is on its way to the host, and how many bytes of it have gone, piece by piece."""
        self._come: list[bytes] = []

    def install(self, tools: list[dict[str, Any]], namespace: dict[str, Any]) -> None:
        """Defines one function per description in ``namespace``."""
        for tool in tools:
            namespace[tool["name"]] = self._function(tool)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Asks the host; raises what it raised."""
        if os.getpid() != self._pid:  # the answers would be mixed up with those to the kernel
            raise RuntimeError("tools can be called from the kernel's own process only")
        arguments = {key: value for key, value in arguments.items() if not isinstance(value, Shown)}
        try:
            told = json.dumps(arguments, default=_plain)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}() takes JSON values: {error}") from None
        if len(told) > self._message_kib * 1024:
            raise ValueError(f"the arguments of {name}() are larger than {self._message_kib} KiB")
        with self._lock:
            self._asked += 1
            number = self._asked
            data = f'{{"id": {number}, "name": {json.dumps(name)}, "arguments": {told}}}'.encode("ascii")
            question, gone = self._going
            self._going = question[sum(gone) :] + _LENGTH.pack(len(data)) + data, []
            while (answer := self._read())["id"] != number:
                pass
        if "error" in answer:
            raise exception_of(answer["error"]["type"], answer["error"]["message"]) from None
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        """The next answer, while the question goes out: a host that has an answer to give takes no question."""
        while len(come := b"".join(self._come)) < 4 or len(come) < (end := 4 + _LENGTH.unpack_from(come)[0]):
            self._exchange()
        self._come[:] = [come[end:]]
        return json.loads(come[4:end])

    def _exchange(self) -> None:
        """Waits, then reads or writes. No signal comes between a call in C and a list it is mapped to: none is lost."""
        question, gone = self._going
        left = memoryview(question)[sum(gone) :]
        line = select.poll()
        line.register(self._sock, select.POLLIN | (select.POLLOUT if left else 0))
        ((_, events),) = line.poll()
        if events & select.POLLOUT:
            gone.extend(map(self._sock.send, (left,), (socket.MSG_DONTWAIT,)))
        if events & ~select.POLLOUT:
            self._come.extend(map(self._sock.recv, (1 << 16,)))
            if not self._come[-1]:
                raise ConnectionError("the host no longer answers tool calls")

    def _function(self, tool: dict[str, Any]) -> Callable[..., Any]:
        """A function with the host's own signature, so that Python itself checks and explains the arguments."""
        signature, scope = signature_of(tool), {"_call": self.call}
        scope.update({f"_default{i}": p.default for i, p in enumerate(signature.parameters.values())})
        exec(code_of(tool), scope)
        function: Any = scope[tool["name"]]
        function.__signature__ = signature
        function.__doc__ = tool["doc"]
        function.__module__ = "tools"
        return function


def signature_of(tool: dict[str, Any]) -> inspect.Signature:
    """The host's own signature, from its description. Raises ValueError for what is none."""
    returns = Shown(tool["returns"]) if tool["returns"] else inspect.Signature.empty
    return inspect.Signature([_parameter(spec) for spec in tool["parameters"]], return_annotation=returns)


def code_of(tool: dict[str, Any]) -> CodeType:
    """What defines the tool's function. Raises SyntaxError where the signature is not one of a function."""
    name, parameters = tool["name"], []
    for i, p in enumerate(signature_of(tool).parameters.values()):
        default = p.empty if p.default is p.empty else Shown(f"_default{i}")
        parameters.append(p.replace(annotation=p.empty, default=default))
    given = ", ".join(f"{p.name!r}: {p.name}" for p in parameters)
    source = f"def {name}{inspect.Signature(parameters)}:\n    return _call({name!r}, {{{given}}})"
    return compile(source, "<tool>", "exec")


def _parameter(spec: dict[str, Any]) -> inspect.Parameter:
    empty = inspect.Parameter.empty
    default = spec["default"] if "default" in spec else Shown(spec["shown"]) if "shown" in spec else empty
    annotation = Shown(spec["annotation"]) if spec["annotation"] else empty
    return inspect.Parameter(
        spec["name"], getattr(inspect.Parameter, spec["kind"]), default=default, annotation=annotation
    )


def _plain(value: Any) -> Any:
    """JSON for what data libraries hand around."""
    for method in ("tolist", "isoformat"):
        if hasattr(value, method):
            return getattr(value, method)()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"{type(value).__name__} is not one")


def exception_of(name: str, message: str) -> Exception:
    """The builtin exception of this name; a RuntimeError where there is none that can be made of a message."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with suppress(TypeError):  # UnicodeDecodeError and its like want more
            return kind(message)
    return RuntimeError(f"{name}: {message}")
