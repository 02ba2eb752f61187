"""The host's end of a kernel's tool connection.

Contract: calls travel over a socket pair of the kernel, one at a time, as JSON with a length prefix, and return a value
or a builtin exception. Calls per cell and message sizes are limited; nothing is ever unpickled.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

from sandbox.host.process import Process
from sandbox.limits import Limits
from sandbox.tools.invoke import Invoke, error_answer

_LENGTH = struct.Struct("!I")
REFUSAL_S, REFUSED_BYTES_PER_S = 0.005, 4e6
"""A refused call takes this long, and longer the larger it is, so that endless calls do not keep the host busy."""


class ToolServer:
    """Answers one kernel's calls until it is closed."""

    def __init__(self, process: Process, invoke: Invoke, limits: Limits) -> None:
        self.calls = 0
        """Calls since the cell began."""
        self._process, self._invoke, self._limits = process, invoke, limits
        self._running: asyncio.Future[dict[str, Any]] | None = None
        self._task = asyncio.ensure_future(self._serve())

    def begin_cell(self) -> None:
        """Resets the number of calls, and cancels a call that is left from an earlier cell."""
        self.calls = 0
        if self._running is not None:
            self._running.cancel()

    def close(self) -> None:
        """Stops answering; a running call is cancelled."""
        self._task.cancel()

    async def _serve(self) -> None:
        loop, sock = asyncio.get_running_loop(), self._process.tool_sock
        try:
            while True:
                (size,) = _LENGTH.unpack(await _recv_exactly(sock, _LENGTH.size))
                if size > self._limits.tool_message_kib * 1024 + 4096:  # the guest's proxies refuse smaller ones, too
                    return self._kill(f"it sent a tool call larger than {self._limits.tool_message_kib} KiB")
                request = json.loads(await _recv_exactly(sock, size))
                answer = {"id": request["id"], **await self._answer(request, size)}
                data = json.dumps(answer).encode("ascii")
                await loop.sock_sendall(sock, _LENGTH.pack(len(data)) + data)
        except (ConnectionError, EOFError, OSError):
            return None
        except (ValueError, KeyError, TypeError, RecursionError):  # the guest's own proxies never send this
            return self._kill("it sent a malformed tool call")

    def _kill(self, reason: str) -> None:
        self._process.reason = self._process.reason or reason
        self._process.kill()

    async def _answer(self, request: dict[str, Any], size: int) -> dict[str, Any]:
        self.calls += 1
        if self.calls > self._limits.tool_calls_per_cell:
            await asyncio.sleep(REFUSAL_S + size / REFUSED_BYTES_PER_S)
            limit = self._limits.tool_calls_per_cell
            return error_answer("RuntimeError", f"this cell has used up its {limit} tool calls")
        self._running = asyncio.ensure_future(self._invoke(request["name"], request["arguments"]))
        try:
            await asyncio.wait([self._running])
        finally:
            self._running.cancel()
        if self._running.cancelled():
            return error_answer("RuntimeError", f"{request['name']}() was cancelled")
        answer = self._running.result()
        if len(json.dumps(answer)) > self._limits.tool_message_kib * 1024:
            kib = self._limits.tool_message_kib
            return error_answer("ValueError", f"the result of {request['name']}() is larger than {kib} KiB")
        return answer


async def _recv_exactly(sock: Any, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        more = await loop.sock_recv(sock, min(size - len(data), 1 << 16))
        if not more:
            raise EOFError
        data += more
    return data
