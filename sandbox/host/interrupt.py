"""Interrupts a kernel as a terminal would: SIGINT for its process and for the programs in its process group.

Contract: reaches what cells have started (``!sleep 100``, ``subprocess.run``, pools of processes) on every tier.
Programs in a session or group of their own and other kernels of the sandbox are left alone. A process is identified by
its number and start time, and signalled through a pidfd. Costs about 0.1 ms per process and reaches at most ``MOST`` of
them. In T1 the walk does not find processes whose parent ended before the interrupt.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from sandbox.host.process import Process
from sandbox.host.procfs import TICK_S, ProcessStat, children, read_stat

MOST = 256


@dataclass(frozen=True)
class Interrupted:
    """The processes that one interrupt has reached, beside the kernel itself; parents come before their children."""

    members: tuple[ProcessStat, ...]

    def kill_orphans(self, since: float) -> None:
        """Kills what interrupted commands have left behind: members whose parent was a member and has ended.

        ``since``: only those started after this moment of :func:`now`.
        """
        members, orphans = {member.pid for member in self.members}, set()
        for member in self.members:
            current = read_stat(member.pid) if member.parent in members and member.started >= since else None
            if current is None or current.started != member.started:
                continue
            if member.parent in orphans or current.parent != member.parent:
                orphans.add(member.pid)
                _send(member, signal.SIGKILL)


def now() -> float:
    """The clock of start times, in seconds; a process started later never has an earlier start time."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - TICK_S


def interrupt(process: Process) -> Interrupted:
    """Sends SIGINT to the kernel and to its process group."""
    process.signal(signal.SIGINT)
    members = tuple(_group(process))
    for member in members:
        _send(member, signal.SIGINT)
    return Interrupted(members)


def kill_commands(process: Process, since: float) -> None:
    """Sends SIGKILL to the processes of the kernel's group that were started after ``since``, not to the kernel."""
    for member in _group(process):
        if member.started >= since:
            _send(member, signal.SIGKILL)


def _group(process: Process) -> Iterator[ProcessStat]:
    """The living processes of the kernel's group without the kernels of the sandbox, at most ``MOST``."""
    root = process.root or process
    own = read_stat(process.pid())
    if own is None:
        return
    kernels = {root.pid(), *(fork.pid() for fork in root.forks)}
    parents, found = [own.pid], 0
    if own.group == own.pid != root.pid():  # no other kernel is in this group, and its orphans are below the root
        parents.append(root.pid())
    while parents:
        for pid in children(parents.pop()):
            if pid in kernels:
                continue
            stat = read_stat(pid)
            if stat is None or stat.state in ("Z", "X"):
                continue
            parents.append(pid)
            found += 1
            if found > MOST:
                return
            if stat.group == own.group:
                yield stat


def _send(member: ProcessStat, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        fd = os.pidfd_open(member.pid)
        try:
            current = read_stat(member.pid)
            if current is not None and current.started == member.started:  # the number was not reused
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
