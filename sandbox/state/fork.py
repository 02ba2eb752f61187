"""Fork of a live kernel: another process with the same variables, functions and modules.

Contract: :func:`fork_process` asks the kernel to fork itself and returns the fork as a :class:`Process`, about as fast
as the first reply of a new kernel. The size of the state does not matter (memory is shared until one side writes).
Threads and open connections of the cell are not forked, and its open files are the branch's own where they can be, see
:mod:`sandbox.guest.open_files`; the rest is listed in :attr:`Process.shared`. The fork lives in the sandbox
of its parent: they share limits, and when the parent has to be killed the fork ends with it. Of what the kernel reports
only its process id is trusted, because Linux vouches for it (SCM_CREDENTIALS).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from typing import Literal

from sandbox.guest.wire import CONTROL, pack
from sandbox.host.output_memory import create_memory
from sandbox.host.plain import plain
from sandbox.host.process import Process, refuse_descriptors, wait_readable
from sandbox.result import SandboxError
from sandbox.workspace.files import BRANCHES, open_beneath

FORK_TIMEOUT_S, CHECKPOINT_TIMEOUT_S = 30.0, 2.0
"""A checkpoint is taken within the time limit of a cell."""
PACKET = 4096
_CREDENTIALS = struct.Struct("3i")
Kind = Literal["branch", "checkpoint", "runner"]
"""``branch``: works in a copy of the workspace, so relative paths stay valid; ``checkpoint``: sleeps beside its parent;
``runner``: replaces its parent, whose process then only keeps the sandbox alive."""


async def fork_process(parent: Process, number: int, kind: Kind) -> Process:
    """The fork; ``number`` is unique in this sandbox. Raises :class:`SandboxError` when the kernel does not fork."""
    root = parent.root or parent
    loop = asyncio.get_running_loop()
    sock, their_sock = socket.socketpair()
    tool_sock, their_tool_sock = socket.socketpair()
    for end in (sock, tool_sock):
        end.setblocking(False)
        refuse_descriptors(end)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    folder = f"{BRANCHES}/{number}" if kind == "branch" else ""
    fork = Process(parent.server, number, sock, tool_sock, loop.create_future(), root=root, folder=folder)
    over, root.ended_folders = root.ended_folders, []
    header = {"msg_id": f"fork-{number}", "session": "host", "msg_type": f"{kind}_request", "version": "5.3"}
    content = {"folder": folder, "over": over}
    frame = pack(CONTROL, {"header": header, "parent_header": {}, "metadata": {}, "content": content})
    try:
        with their_sock, their_tool_sock:
            fork.memory = create_memory(parent.server.limits.output_chars)
            socket.send_fds(sock, [b"m"], [fork.memory])
            socket.send_fds(parent.sock, [frame], [their_sock.fileno(), their_tool_sock.fileno()])
        timeout_s = CHECKPOINT_TIMEOUT_S if kind == "checkpoint" else FORK_TIMEOUT_S
        pid, fork.shared = await asyncio.wait_for(recv_ready(sock), timeout_s)
        fork.pidfd = os.pidfd_open(pid)
        if kind == "branch":
            fork.workspace = open_beneath(root.workspace, folder, os.O_PATH | os.O_DIRECTORY)
        else:
            fork.workspace = os.dup(parent.workspace)
            first, second = (os.dup(fd) if fd >= 0 else -1 for fd in parent.raw_output)
            fork.raw_output = (first, second)
    except BaseException as error:
        fork.kill()
        fork.release()
        if isinstance(error, TimeoutError | OSError | ValueError | TypeError | RecursionError):
            raise SandboxError(f"the kernel could not be forked: {error!r}") from None
        raise
    root.forks.add(fork)
    _report_death(fork)
    return fork


async def recv_ready(sock: socket.socket) -> tuple[int, tuple[str, ...]]:
    """Waits for the first packet of a fork; returns the sender's process id and what it shares with its parent.

    Raises ValueError for other packets.
    """
    await wait_readable(sock)
    try:
        data, ancillary, _, _ = sock.recvmsg(PACKET, socket.CMSG_SPACE(_CREDENTIALS.size))
    except ConnectionResetError:  # closed with the memory's descriptor unread
        data, ancillary = b"", []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and data:
            packet = json.loads(data)
            if not isinstance(packet, dict) or packet.get("op") != "ready":
                raise ValueError(data[:500].decode("utf-8", "replace"))
            lines = packet.get("shared", [])
            shared = tuple(plain(line, PACKET) for line in lines) if isinstance(lines, list) else ()
            return int(_CREDENTIALS.unpack(payload)[0]), shared
    raise ValueError("it did not answer; it may have no process, memory or descriptor left")


def _report_death(fork: Process) -> None:
    """Sets ``exited`` when the fork ends. It is not this process's child, so its pidfd gives no exit code."""
    loop, fd = asyncio.get_running_loop(), os.dup(fork.pidfd)

    def on_end() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        if not fork.exited.done():
            fork.exited.set_result(1)

    loop.add_reader(fd, on_end)
