"""What Linux says about processes in ``/proc``.

Contract: a process that ends while it is read is left out, nothing is raised for it. Costs about 20 µs per process and
file. The guest has its own reader (:mod:`sandbox.guest.isolation.descendants`), because it must import nothing more.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""Resolution of start times."""


@dataclass(frozen=True)
class ProcessStat:
    """The fields of ``/proc/<pid>/stat`` that are used here."""

    pid: int
    state: str
    """One letter; ``Z`` is a zombie and ``X`` a dead process."""
    parent: int
    group: int
    threads: int
    resident: int
    """Bytes of memory in use, shared pages included."""
    started: float
    """When it was started, in seconds since the machine was, rounded down to ``TICK_S``."""


def read_stat(pid: int) -> ProcessStat | None:
    """The process's status, None when it is gone."""
    try:
        # the command's name is in parentheses and may hold any bytes
        fields = Path("/proc", str(pid), "stat").read_bytes().rpartition(b") ")[2].split()
        state, parent, group = fields[0].decode("ascii"), int(fields[1]), int(fields[2])
        resident, started = int(fields[21]) * PAGE_BYTES, int(fields[19]) * TICK_S
        return ProcessStat(pid, state, parent, group, int(fields[17]), resident, started)
    except (OSError, IndexError):  # a process that ends may leave an empty file
        return None


def read_all_stats() -> dict[int, ProcessStat]:
    """Every process of the machine, by process id."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    return {stat.pid: stat for pid in pids if (stat := read_stat(pid)) is not None}


def children(pid: int) -> list[int]:
    """Process ids of the children of a process, whichever of its threads started them."""
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_bytes().split())
    return found


def descendants(pid: int) -> list[int]:
    """Process ids of everything below a process, parents before children."""
    found, frontier = [], [pid]
    while frontier:
        frontier = [child for parent in frontier for child in children(parent)]
        found += frontier
    return found


def memory_bytes(pid: int, *kinds: str) -> int | None:
    """Sum of the ``smaps_rollup`` rows whose names start with ``kinds``; None when Linux refuses to show them."""
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return sum(int(row.split()[1]) for row in rows if row.startswith(kinds)) * 1024
