"""Raw output of child processes that outlive their cell.

Contract: a child writes to the file that was behind descriptor 1 or 2 when it was started. Where children are alive at
the end of a cell, the next cell gets other files, so that what arrives in the old ones is late output of the earlier
cell. When no child is left, the first files are used again, because the host knows only those. In tier T1 a kernel with
checkpoints or branches cannot tell its children from those, and keeps its files. Costs one system call per cell.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

MOST = 8
"""Cells whose children's output is kept apart at one time."""


@dataclass
class LeftFile:
    """A file to which children of a cell write."""

    cell: int
    fd: int
    at: int
    """How far it was read."""

    def read(self) -> Iterator[str]:
        """What was written since the last call."""
        with suppress(OSError):  # a cell closed the descriptor
            while data := os.pread(self.fd, 1 << 20, self.at):
                self.at += len(data)
                yield data.decode("utf-8", "replace")


def living_children(known: set[int]) -> frozenset[int] | None:
    """Children of this process that run, without the ``known`` ones; None when there are some that cannot be listed."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
            pids = {int(pid) for pid in file.read().split()}
    except OSError:
        return None
    return frozenset(pid for pid in pids - known if _runs(pid))


def is_raw_file(fd: int) -> bool:
    """Whether a descriptor still leads to a file without a name, and not to something of the cell's own."""
    try:
        seen = os.fstat(fd)
    except OSError:
        return False
    return stat.S_ISREG(seen.st_mode) and not seen.st_nlink


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b") ")[2][:1] not in (b"Z", b"X")
    except PermissionError:  # in tier T1
        return True
    except OSError:
        return False
