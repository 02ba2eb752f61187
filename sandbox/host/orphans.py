"""Kills the processes that a dead kernel left in a sandbox that lives on.

Contract: :func:`kill_orphans` returns when nothing is left below the sandbox's first process except the given kernels
and their descendants. Each process is signalled through a pidfd whose parent is checked after it was opened, so a
process outside the sandbox is never hit. Costs about 0.1 ms per process and pass.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from sandbox.host.procfs import children, read_stat

INTERVAL_S = 0.002
TIMEOUT_S = 10.0


def kill_orphans(first: int, kernels: set[int]) -> None:
    """``first``, ``kernels``: process ids in the host's numbering. Raises OSError when some do not end in time."""
    deadline = time.monotonic() + TIMEOUT_S
    while orphans := list(_find_orphans(first, kernels)):
        if time.monotonic() > deadline:
            raise OSError(f"{len(orphans)} processes of the cell do not end")
        for parent, pid in orphans:
            _kill(parent, pid)
        time.sleep(INTERVAL_S)


def _find_orphans(first: int, kernels: set[int]) -> Iterator[tuple[int, int]]:
    """(parent, process) of everything below ``first`` outside the kernels' trees; parents before children."""
    parents = [first]
    while parents:
        parent = parents.pop()
        for pid in children(parent):
            stat = read_stat(pid) if pid not in kernels else None
            if stat is not None and stat.state not in ("Z", "X"):
                yield parent, pid
                parents.append(pid)


def _kill(parent: int, pid: int) -> None:
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            stat = read_stat(pid)
            if stat is not None and stat.parent == parent:  # the number was not reused
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)
