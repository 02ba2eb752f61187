"""One kernel process as the host holds it: its sockets, its pidfd, its workspace, its cgroup.

Contract: made by the fork server (or by a fork of a live kernel), given up once with :meth:`Process.release`. Signals
go through the pidfd, so they never hit another process that got the same number.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sandbox.host.endpoints import Endpoints
from sandbox.isolation.cgroups import Cgroup
from sandbox.isolation.egress_proxy import EgressProxy
from sandbox.limits import Limits
from sandbox.workspace.walk import closing

P = ParamSpec("P")
T = TypeVar("T")
SO_PASSRIGHTS = 83


def refuse_descriptors(sock: socket.socket) -> None:
    """Makes Linux refuse descriptors sent through this Unix socket (Linux 6.16 and later).

    A descriptor that arrives unasked is closed in the reader's thread, and the sender decides how long that takes.
    """
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)


async def wait_readable(sock: socket.socket) -> None:
    """Returns when a socket has data or is closed at the other end."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def on_readable() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(sock.fileno(), on_readable)
    try:
        await readable
    finally:
        loop.remove_reader(sock.fileno())


class ProcessServer(Protocol):
    """The part of a fork server that holders of its processes use."""

    pid: int
    base: str
    limits: Limits
    alive: bool
    died: asyncio.Future[int]

    async def remove(self, process: Process) -> None:
        """Kills a process and removes what it left."""

    def abandon(self, process: Process) -> None:
        """Removes a dead or half-started process in the background."""


@dataclass(eq=False)
class Process:
    """One kernel process as the host holds it."""

    server: ProcessServer
    number: int
    sock: socket.socket
    """Connection for requests and messages."""
    tool_sock: socket.socket
    """Connection for tool calls."""
    exited: asyncio.Future[int]
    """Exit code, negative for a signal; -9 as well when the fork server is gone."""
    pidfd: int = -1
    workspace: int = -1
    """Descriptor of the workspace folder (O_PATH)."""
    memory: int = -1
    """Descriptor of the memory that holds its cell's output, see :mod:`sandbox.host.last_words`."""
    raw_output: tuple[int, int] = (-1, -1)
    """Descriptors of the files behind its descriptors 1 and 2; -1 where the host has none."""
    cgroup: Cgroup | None = None
    """The cgroup that bounds it, in T3."""
    endpoints: Endpoints | None = None
    """Sockets for stock clients, if it serves them."""
    egress: EgressProxy | None = None
    """The proxy to listed hosts, for the process and its forks."""
    root: Process | None = None
    """For a fork: the first process of the sandbox it lives in."""
    folder: str = ""
    """For a fork with its own copy of the files: the copy's path in the root's workspace."""
    forks: set[Process] = field(default_factory=set)
    """For a root: the live forks in its sandbox."""
    shared: tuple[str, ...] = ()
    """For a branch: open files it shares with its parent and connections that are closed, as it reports them."""
    ended_folders: list[str] = field(default_factory=list)
    """Workspaces of ended forks. The next fork removes them, because only processes of the sandbox may."""
    unwanted: bool = False
    """Its handle is closed; it stays only while forks live in its sandbox."""
    killed: bool = False
    """It was sent SIGKILL, even if forks live in its sandbox."""
    reason: str | None = None
    """Why the host killed it: ``out_of_memory`` or a sentence."""

    def signal(self, number: int) -> None:
        """Sends a signal; no error when the process is gone."""
        if self.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def ended(self) -> bool:
        """Whether it has ended, also if the event loop has not seen it yet."""
        return self.pidfd < 0 or bool(select.select([self.pidfd], [], [], 0)[0])

    def kill(self) -> None:
        """Sends SIGKILL; ``exited`` is done when the process has ended."""
        self.killed = True
        self.signal(signal.SIGKILL)

    def pid(self) -> int:
        """Its process id in the host's numbering; -1 when it is gone."""
        if self.pidfd < 0:
            return -1
        for line in Path(f"/proc/self/fdinfo/{self.pidfd}").read_text().splitlines():
            if line.startswith("Pid:"):
                return int(line.split()[1])
        return -1

    def memory_kills(self) -> int:
        """Processes of its sandbox that Linux has killed for lack of memory; 0 without a cgroup."""
        cgroup = (self.root or self).cgroup
        return cgroup.memory_kills() if cgroup is not None else 0

    async def in_workspace(self, work: Callable[Concatenate[int, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls ``work`` with a descriptor of the workspace, in a thread; it finishes even if the caller is cancelled.

        The descriptor is a duplicate: the process's own may be closed and reused before the thread begins.
        """
        own = os.dup(self.workspace)

        def with_own() -> T:
            with closing(own):
                return work(own, *args, **kwargs)

        return await asyncio.shield(asyncio.to_thread(with_own))

    def close_output(self) -> None:
        """Closes what only a process that runs cells needs."""
        workspace, self.workspace = self.workspace, -1
        for fd in self.take_files():
            os.close(fd)
        self.workspace = workspace

    def take_files(self) -> list[int]:
        """The descriptors that hold files of the kernel, which are not this object's any more."""
        files = [fd for fd in (self.memory, *self.raw_output, self.workspace) if fd >= 0]
        self.memory = self.workspace = -1
        self.raw_output = (-1, -1)
        return files

    def release(self) -> None:
        """Closes the descriptors and removes the cgroup."""
        loop = self.exited.get_loop()
        for sock in (self.sock, self.tool_sock):
            # a reader left behind would be called for the next socket with the same number
            if sock.fileno() >= 0 and not loop.is_closed():
                loop.remove_reader(sock.fileno())
                loop.remove_writer(sock.fileno())
            sock.close()
        for fd in (self.pidfd, *self.take_files()):
            if fd >= 0:
                os.close(fd)
        self.pidfd = -1
        if self.cgroup is not None:
            self.cgroup.remove()
            self.cgroup = None
        if self.endpoints is not None:
            self.endpoints.remove()
        if self.egress is not None:
            self.egress.close()
            self.egress = None
