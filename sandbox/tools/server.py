"""The host's end of a kernel's tool connection.

Contract: a call travels over the kernel's own socket pair as JSON with its length before it, one at a time, and comes
back as a value or as a builtin exception. Calls per cell and sizes are limited; nothing is ever unpickled.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

from sandbox.host.process import Process
from sandbox.limits import Limits
from sandbox.tools.invoke import Answer, error_answer

_LENGTH = struct.Struct("!I")
REFUSAL_S, REFUSED_BYTES_PER_S = 0.005, 4e6
"""A refused call takes this long, and longer for more bytes: calls without end must not keep the host busy."""


class ToolServer:
    """Answers one kernel's calls until it is closed."""

    def __init__(self, process: Process, answer: Answer, limits: Limits) -> None:
        self.calls = 0
        """Calls since the cell began."""
        self._process, self._answer_call, self._limits = process, answer, limits
        self._call: asyncio.Future[dict[str, Any]] | None = None
        self._task = asyncio.ensure_future(self._serve())

    def begin_cell(self) -> None:
        """A new cell: it has all its calls, and does not wait for the answer to one of a cell that is over."""
        self.calls = 0
        if self._call is not None:
            self._call.cancel()

    def close(self) -> None:
        """Stops answering; a call under way is cancelled."""
        self._task.cancel()

    async def _serve(self) -> None:
        loop, sock = asyncio.get_running_loop(), self._process.tools
        try:
            while True:
                (size,) = _LENGTH.unpack(await _exactly(sock, _LENGTH.size))
                if size > self._limits.tool_message_kib * 1024 + 4096:  # our own toolbox has refused it
                    return self._end(f"it sent a tool call larger than {self._limits.tool_message_kib} KiB")
                request = json.loads(await _exactly(sock, size))
                answer = {"id": request["id"], **await self._answer(request, size)}
                data = json.dumps(answer).encode("ascii")
                await loop.sock_sendall(sock, _LENGTH.pack(len(data)) + data)
        except (ConnectionError, EOFError, OSError):
            return None
        except (ValueError, KeyError, TypeError, RecursionError):  # not what our own toolbox sends
            return self._end("it sent a tool call that is none")

    def _end(self, reason: str) -> None:
        self._process.reason = self._process.reason or reason
        self._process.kill()

    async def _answer(self, request: dict[str, Any], size: int) -> dict[str, Any]:
        self.calls += 1
        if self.calls > self._limits.tool_calls_per_cell:
            await asyncio.sleep(REFUSAL_S + size / REFUSED_BYTES_PER_S)
            limit = self._limits.tool_calls_per_cell
            return error_answer("RuntimeError", f"this cell has used up its {limit} tool calls")
        self._call = asyncio.ensure_future(self._answer_call(request["name"], request["arguments"]))
        try:
            await asyncio.wait([self._call])
        finally:
            self._call.cancel()
        if self._call.cancelled():
            return error_answer("RuntimeError", f"{request['name']}() was cancelled")
        answer = self._call.result()
        if len(json.dumps(answer)) > self._limits.tool_message_kib * 1024:
            kib = self._limits.tool_message_kib
            return error_answer("ValueError", f"the result of {request['name']}() is larger than {kib} KiB")
        return answer


async def _exactly(sock: Any, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        more = await loop.sock_recv(sock, min(size - len(data), 1 << 16))
        if not more:
            raise EOFError
        data += more
    return data
