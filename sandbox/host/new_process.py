"""The first and last steps in the life of a :class:`Process` that a fork server makes: its sockets and its memory."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import ExitStack

from sandbox.host.output_memory import create_memory
from sandbox.host.process import Process, ProcessServer, refuse_descriptors, wait_readable
from sandbox.result import SandboxError


def new_process(server: ProcessServer, number: int) -> tuple[Process, tuple[socket.socket, socket.socket]]:
    """A process to be forked, and its ends of the two connections."""
    with ExitStack() as undo:
        sock, their_sock = socket.socketpair()
        undo.callback(sock.close)
        undo.callback(their_sock.close)
        tool_sock, their_tool_sock = socket.socketpair()
        undo.callback(tool_sock.close)
        undo.callback(their_tool_sock.close)
        memory = create_memory(server.limits.output_chars)
        undo.pop_all()
    sock.setblocking(False)
    tool_sock.setblocking(False)
    refuse_descriptors(tool_sock)
    exited = asyncio.get_running_loop().create_future()
    process = Process(server, number, sock, tool_sock, exited, memory=memory)
    return process, (their_sock, their_tool_sock)


def close_all(fds: list[int]) -> None:
    """Closes descriptors."""
    for fd in fds:
        os.close(fd)


async def recv_ready(process: Process) -> list[int]:
    """Waits until the kernel reports that it is isolated; returns its workspace, raw output and any proxy socket."""
    await wait_readable(process.sock)
    data, fds, _, _ = socket.recv_fds(process.sock, 4096, 4)
    packet = json.loads(data) if data else {"op": "failed", "error": "it died before it was ready"}
    if packet["op"] != "ready":
        raise SandboxError(f"a kernel could not start: {packet.get('error')}")
    return fds
