"""One kernel process as the host holds it: its sockets, its pidfd, its workspace, its cgroup.

Contract: made by the fork server (or by a fork of a live kernel), given up once with :meth:`Process.release`. Signals
go through the pidfd, so they can never hit another process that got the same number.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sandbox.host.endpoints import Endpoints
from sandbox.isolation.cgroups import Cgroup
from sandbox.isolation.egress_proxy import Egress
from sandbox.workspace.walk import closing

P = ParamSpec("P")
T = TypeVar("T")
SO_PASSRIGHTS = 83


def refuse_descriptors(sock: socket.socket) -> None:
    """From now on no descriptor comes through this Unix socket (Linux 6.16 and later).

    One that nobody takes is closed in the reader's thread, and closing a connection may take as long as its maker says.
    """
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)


class ProcessServer(Protocol):
    """The fork server of a process, as far as whoever holds the process uses it."""

    pid: int
    base: str
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
    line: socket.socket
    tools: socket.socket
    exited: asyncio.Future[int]
    """Exit code, negative for a signal; -9 as well when the fork server is gone."""
    pidfd: int = -1
    workspace: int = -1
    """Descriptor of the workspace folder (O_PATH)."""
    cgroup: Cgroup | None = None
    """The cgroup that bounds it, in T3."""
    endpoints: Endpoints | None = None
    """Where stock clients connect, when it serves them."""
    egress: Egress | None = None
    """Its way to listed hosts, and that of its branches."""
    root: Process | None = None
    """For a branch: the process in whose sandbox it lives."""
    folder: str = ""
    """For a branch that works in a copy of the files: where that lies in the first workspace."""
    branches: set[Process] = field(default_factory=set)
    over: list[str] = field(default_factory=list)
    """Workspaces of branches that have ended, for the next fork to clear away: only what lives in the sandbox may."""
    unwanted: bool = False
    """Its handle is closed; it stays only because branches live in its sandbox."""
    killed: bool = False
    """It has been told to end at once, whatever lives in its sandbox."""
    reason: str | None = None
    """Why the host killed it, where the host did: ``out_of_memory``, ``processes``, …"""

    def signal(self, number: int) -> None:
        """Sends a signal; a process that is gone is no error."""
        if self.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def kill(self) -> None:
        """SIGKILL; ``exited`` tells when it is over."""
        self.killed = True
        self.signal(signal.SIGKILL)

    def pid(self) -> int:
        """Its process id as the host counts; -1 when it is gone."""
        if self.pidfd < 0:
            return -1
        for line in Path(f"/proc/self/fdinfo/{self.pidfd}").read_text().splitlines():
            if line.startswith("Pid:"):
                return int(line.split()[1])
        return -1

    def memory_kills(self) -> int:
        """Processes of its sandbox that Linux has killed because the memory was used up; 0 without a cgroup."""
        cgroup = (self.root or self).cgroup
        return cgroup.memory_kills() if cgroup is not None else 0

    async def in_workspace(self, work: Callable[Concatenate[int, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``work`` makes of the workspace, in a thread and to its end, even for a caller who is cancelled.

        It has a descriptor of its own: the number of the process's may be another kernel's by the time it begins.
        """
        own = os.dup(self.workspace)

        def with_own() -> T:
            with closing(own):
                return work(own, *args, **kwargs)

        return await asyncio.shield(asyncio.to_thread(with_own))

    def release(self) -> None:
        """Closes the descriptors and removes the cgroup."""
        loop = self.exited.get_loop()
        for sock in (self.line, self.tools):
            # a reader that outlives its socket would be taken for that of the next one with the same number
            if sock.fileno() >= 0 and not loop.is_closed():
                loop.remove_reader(sock.fileno())
                loop.remove_writer(sock.fileno())
            sock.close()
        for fd in (self.pidfd, self.workspace):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.workspace = -1
        if self.cgroup is not None:
            self.cgroup.remove()
            self.cgroup = None
        if self.endpoints is not None:
            self.endpoints.remove()
        if self.egress is not None:
            self.egress.close()
            self.egress = None
