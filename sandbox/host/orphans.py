"""Ends what a dead kernel left running in a sandbox that lives on.

Contract: :func:`end_strays` returns when no process is left below the sandbox's first one but the kernels that are
known and what they started. The tree is read from ``/proc`` and each process signalled through a pidfd that was
checked after it was opened, so nothing outside the sandbox can be hit. Costs about 0.1 ms a process and look.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LOOK_EVERY_S = 0.002
TIMEOUT_S = 10.0


def end_strays(first: int, kernels: set[int]) -> None:
    """``first``, ``kernels``: process ids as the host counts them. Raises OSError when some do not end in time."""
    until = time.monotonic() + TIMEOUT_S
    while strays := list(_strays(first, kernels)):
        if time.monotonic() > until:
            raise OSError(f"{len(strays)} processes of the cell do not end")
        for parent, pid in strays:
            _kill(parent, pid)
        time.sleep(LOOK_EVERY_S)


def _strays(first: int, kernels: set[int]) -> Iterator[tuple[int, int]]:
    """(parent, process) of all below ``first``, leaving out the trees of kernels; parents before children."""
    parents = [first]
    while parents:
        parent = parents.pop()
        for pid in _children(parent):
            if pid not in kernels and _state(pid) not in ("Z", "X", ""):
                yield parent, pid
                parents.append(pid)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += (int(child) for child in (task / "children").read_text().split())
    return found


def _state(pid: int) -> str:
    return _stat(pid)[:1]


def _stat(pid: int) -> str:
    """What follows the name: state, parent, …; empty when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].decode()  # a name can be any bytes
    return ""


def _kill(parent: int, pid: int) -> None:
    with suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            if _stat(pid).split()[1:2] == [str(parent)]:  # still the one that was seen
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        finally:
            os.close(fd)
