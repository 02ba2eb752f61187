"""Proxies of host tools inside the kernel: plain Python functions that call the host.

Contract: arguments and results are JSON (numpy scalars and arrays, sets and tuples are converted when sent); an
exception of the host is raised here as the builtin exception of its name; arguments above the size the host reads are
refused before they are sent. One call at a time, over an inherited socket: four bytes of length, then JSON. A signal
may interrupt a call anywhere: the next call first sends the rest of the interrupted request and skips its answer.
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


TOOLS: ToolClient
"""The tool client of this kernel."""


class OpaqueValue:
    """An annotation or default value of which only the text is known."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class ToolClient:
    """The kernel's end of the tool connection."""

    def __init__(self, sock: socket.socket, message_kib: int) -> None:
        """``message_kib``: the largest size of a call's arguments."""
        self._message_kib, self._last_id = message_kib, 0
        self._use(sock)

    def adopt(self, fd: int) -> None:
        """Switches to another connection, in a forked kernel."""
        self._sock.close()
        self._use(socket.socket(fileno=fd))

    def _use(self, sock: socket.socket) -> None:
        self._sock, self._lock, self._pid = sock, threading.RLock(), os.getpid()
        self._outgoing: tuple[bytes, list[int]] = b"", []
        """Bytes to send, and the sizes of the parts that have been sent."""
        self._incoming: list[bytes] = []

    def install(self, tools: list[dict[str, Any]], namespace: dict[str, Any]) -> None:
        """Defines one function per tool in ``namespace``."""
        for tool in tools:
            namespace[tool["name"]] = self._function(tool)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """The result of the host's tool. Raises the tool's exception."""
        if os.getpid() != self._pid:  # its answers would mix with those to the kernel
            raise RuntimeError("tools can be called from the kernel's own process only")
        arguments = {key: value for key, value in arguments.items() if not isinstance(value, OpaqueValue)}
        try:
            encoded = json.dumps(arguments, default=_plain)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}() takes JSON values: {error}") from None
        if len(encoded) > self._message_kib * 1024:
            raise ValueError(f"the arguments of {name}() are larger than {self._message_kib} KiB")
        with self._lock:
            self._last_id += 1
            number = self._last_id
            data = f'{{"id": {number}, "name": {json.dumps(name)}, "arguments": {encoded}}}'.encode("ascii")
            pending, sent = self._outgoing
            self._outgoing = pending[sum(sent) :] + _LENGTH.pack(len(data)) + data, []
            while (answer := self._read())["id"] != number:
                pass
        if "error" in answer:
            raise build_exception(answer["error"]["type"], answer["error"]["message"]) from None
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        """The next answer. Sends the request while it reads, because a host with an answer to send does not read."""
        while len(read := b"".join(self._incoming)) < 4 or len(read) < (end := 4 + _LENGTH.unpack_from(read)[0]):
            self._exchange()
        self._incoming[:] = [read[end:]]
        return json.loads(read[4:end])

    def _exchange(self) -> None:
        """Waits until the socket is ready, then reads or writes.

        ``list.extend(map(...))`` makes the call and stores its result in one step in C, so that a signal between them
        cannot lose bytes.
        """
        pending, sent = self._outgoing
        left = memoryview(pending)[sum(sent) :]
        poller = select.poll()
        poller.register(self._sock, select.POLLIN | (select.POLLOUT if left else 0))
        ((_, events),) = poller.poll()
        if events & select.POLLOUT:
            sent.extend(map(self._sock.send, (left,), (socket.MSG_DONTWAIT,)))
        if events & ~select.POLLOUT:
            self._incoming.extend(map(self._sock.recv, (1 << 16,)))
            if not self._incoming[-1]:
                raise ConnectionError("the host no longer answers tool calls")

    def _function(self, tool: dict[str, Any]) -> Callable[..., Any]:
        """A function with the tool's signature, so that Python itself checks the arguments."""
        signature, scope = build_signature(tool), {"_call": self.call}
        scope.update({f"_default{i}": p.default for i, p in enumerate(signature.parameters.values())})
        exec(compile_proxy(tool), scope)
        function: Any = scope[tool["name"]]
        function.__signature__ = signature
        function.__doc__ = tool["doc"]
        function.__module__ = "tools"
        return function


def build_signature(tool: dict[str, Any]) -> inspect.Signature:
    """The tool's signature, from its description. Raises ValueError for an invalid one."""
    returns = OpaqueValue(tool["returns"]) if tool["returns"] else inspect.Signature.empty
    return inspect.Signature([_parameter(spec) for spec in tool["parameters"]], return_annotation=returns)


def compile_proxy(tool: dict[str, Any]) -> CodeType:
    """Code that defines the tool's proxy. Raises SyntaxError if no function can have this signature."""
    name, parameters = tool["name"], []
    for i, p in enumerate(build_signature(tool).parameters.values()):
        default = p.empty if p.default is p.empty else OpaqueValue(f"_default{i}")
        parameters.append(p.replace(annotation=p.empty, default=default))
    given = ", ".join(f"{p.name!r}: {p.name}" for p in parameters)
    source = f"def {name}{inspect.Signature(parameters)}:\n    return _call({name!r}, {{{given}}})"
    return compile(source, "<tool>", "exec")


def _parameter(spec: dict[str, Any]) -> inspect.Parameter:
    empty = inspect.Parameter.empty
    default = spec["default"] if "default" in spec else OpaqueValue(spec["shown"]) if "shown" in spec else empty
    annotation = OpaqueValue(spec["annotation"]) if spec["annotation"] else empty
    return inspect.Parameter(
        spec["name"], getattr(inspect.Parameter, spec["kind"]), default=default, annotation=annotation
    )


def _plain(value: Any) -> Any:
    """JSON values for common types of data libraries."""
    for method in ("tolist", "isoformat"):
        if hasattr(value, method):
            return getattr(value, method)()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"{type(value).__name__} is not one")


def build_exception(name: str, message: str) -> Exception:
    """The builtin exception of this name; a RuntimeError if there is none that takes one message."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with suppress(TypeError):  # UnicodeDecodeError and others need more arguments
            return kind(message)
    return RuntimeError(f"{name}: {message}")
