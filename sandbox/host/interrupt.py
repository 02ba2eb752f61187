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
_TO_GROUP = 4
"""PIDFD_SIGNAL_PROCESS_GROUP of Linux 6.9: one signal for a whole group, so that no process is started in between."""


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
    members = {member.pid: member for member in _group(process)}
    at_once = _alone_in_group(process) and _signal_group(process, signal.SIGINT)
    if not at_once:
        process.signal(signal.SIGINT)
        for member in members.values():
            _send(member, signal.SIGINT)
    for member in _group(process):  # a shell may have started a program since
        if member.pid not in members:
            members[member.pid] = member
            if not at_once:
                _send(member, signal.SIGINT)
    return Interrupted(tuple(members.values()))


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


def _alone_in_group(process: Process) -> bool:
    """Whether the kernel leads a process group without other kernels of its sandbox."""
    root, own = process.root or process, read_stat(process.pid())
    if own is None or own.group != own.pid:
        return False
    others = {root.pid(), *(fork.pid() for fork in root.forks)} - {own.pid}
    return all(stat is None or stat.group != own.group for stat in map(read_stat, others))


def _signal_group(process: Process, number: int) -> bool:
    """Signals the group that the kernel leads; False where Linux cannot."""
    try:
        signal.pidfd_send_signal(process.pidfd, number, None, _TO_GROUP)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return True


def _send(member: ProcessStat, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        fd = os.pidfd_open(member.pid)
        try:
            current = read_stat(member.pid)
            if current is not None and current.started == member.started:  # the number was not reused
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
