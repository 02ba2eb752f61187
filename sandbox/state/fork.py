"""Fork of a live kernel: another process with the same variables, functions and modules.

Contract: :func:`fork_process` asks the kernel to fork itself and returns the fork as a process of its own, about as
fast as the first reply of a new kernel, whatever the state's size (memory is shared until one side writes). Threads and
open connections of the cell do not come along, see :mod:`sandbox.guest.forking`. The fork lives in the sandbox of the
kernel it came from: they share limits, and when that one has to be killed the fork ends with it. Nothing the kernel
says is believed but its process id, which Linux vouches for (SCM_CREDENTIALS).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from typing import Literal

from sandbox.guest.wire import CONTROL, pack
from sandbox.host.process import Process, refuse_descriptors
from sandbox.result import SandboxError
from sandbox.workspace.files import BRANCHES, open_beneath

FORK_TIMEOUT_S, CHECKPOINT_TIMEOUT_S = 30.0, 2.0
"""A checkpoint is taken in a cell's own time."""
_CREDENTIALS = struct.Struct("3i")
Kind = Literal["branch", "checkpoint", "runner"]
"""``branch``: works in a copy of the workspace, so relative paths stay good; ``checkpoint``: sleeps beside its parent;
``runner``: takes the parent's place, whose process only keeps the sandbox alive from then on."""


async def fork_process(parent: Process, number: int, kind: Kind) -> Process:
    """The fork; ``number`` is its own in this sandbox. Raises :class:`SandboxError` when the kernel gives none."""
    root = parent.root or parent
    loop = asyncio.get_running_loop()
    line, line_theirs = socket.socketpair()
    tools, tools_theirs = socket.socketpair()
    for sock in (line, tools):
        sock.setblocking(False)
        refuse_descriptors(sock)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    folder = f"{BRANCHES}/{number}" if kind == "branch" else ""
    branch = Process(parent.server, number, line, tools, loop.create_future(), root=root, folder=folder)
    over, root.over = root.over, []
    header = {"msg_id": f"fork-{number}", "session": "host", "msg_type": f"{kind}_request", "version": "5.3"}
    frame = pack(
        CONTROL, {"header": header, "parent_header": {}, "metadata": {}, "content": {"folder": folder, "over": over}}
    )
    try:
        with line_theirs, tools_theirs:
            socket.send_fds(parent.line, [frame], [line_theirs.fileno(), tools_theirs.fileno()])
        pid = await asyncio.wait_for(_hello(line), CHECKPOINT_TIMEOUT_S if kind == "checkpoint" else FORK_TIMEOUT_S)
        branch.pidfd = os.pidfd_open(pid)
        if kind == "branch":
            branch.workspace = open_beneath(root.workspace, folder, os.O_PATH | os.O_DIRECTORY)
        else:
            branch.workspace = os.dup(parent.workspace)
    except BaseException as error:
        branch.kill()
        branch.release()
        if isinstance(error, asyncio.TimeoutError | OSError | ValueError | TypeError | RecursionError):
            raise SandboxError(f"the kernel could not be forked: {error!r}") from None
        raise
    root.branches.add(branch)
    _report_death(branch)
    return branch


async def _hello(line: socket.socket) -> int:
    """The process id behind the first packet."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def on_readable() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(line.fileno(), on_readable)
    try:
        await readable
    finally:
        loop.remove_reader(line.fileno())
    data, ancillary, _, _ = line.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and data:
            if json.loads(data) != {"op": "ready"}:
                raise ValueError(data[:500].decode("utf-8", "replace"))
            return int(_CREDENTIALS.unpack(payload)[0])
    raise ValueError("it did not answer; it may have no process, memory or descriptor left")


def _report_death(branch: Process) -> None:
    """A branch is nobody's child here: its end is seen through its pidfd, without an exit code."""
    loop, fd = asyncio.get_running_loop(), os.dup(branch.pidfd)

    def on_end() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        if not branch.exited.done():
            branch.exited.set_result(1)

    loop.add_reader(fd, on_end)
