"""Watches what no mechanism bounds: the sums over a kernel's processes and its workspace, where the tier has no cgroup.

Contract: once a second one pass over ``/proc`` and, in tiers without a file system of their own, over the workspaces
and the open files; a kernel over a limit is killed and the reason kept, and with it the branches it shares a sandbox
with. Between two looks it can go over: the probe therefore says ``partial``. Cost: about 20 µs per process of the
machine and look, in a thread.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.host.process import Process
from sandbox.limits import Limits
from sandbox.workspace.walk import walk_beneath

EVERY_S = 1.0
MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Row:
    pid: int
    parent: int
    group: int
    threads: int
    resident: int


def watch_over(taken: Iterable[Process], limits: Limits, tier: str) -> asyncio.Task[None] | None:
    """Starts a watch over ``taken``, which may change; None where the tier's mechanisms bound everything."""
    if tier == "T3":
        return None
    return asyncio.ensure_future(Watch(taken, limits, files=tier in ("T1", "T0")).run())


class Watch:
    """Looks after the processes in ``taken``, a live collection, until cancelled."""

    def __init__(self, taken: Iterable[Process], limits: Limits, files: bool) -> None:
        self._taken, self._limits, self._files = taken, limits, files
        self._born_with: dict[int, int] = {}

    async def run(self) -> None:
        """Never returns. A look that fails is logged, and the next one follows."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self._act()
            except Exception:
                log.exception("a look at the kernels failed")

    async def _act(self) -> None:
        # a branch whose sandbox has ended is gone, although its handle need not know yet
        watched = {process: (process.root or process).pid() for process in tuple(self._taken) if process.pidfd >= 0}
        if watched:
            found = await asyncio.to_thread(self._look, watched)
            for process, reason in found.items():
                process.reason = process.reason or reason
                process.kill()

    def _look(self, watched: dict[Process, int]) -> dict[Process, str]:
        rows = _read_rows()
        below, in_group = defaultdict(list), defaultdict(set)
        for row in rows.values():
            below[row.parent].append(row)
            in_group[row.group].add(row)
        over = {}
        for process, pid in watched.items():
            if pid not in rows:
                continue
            family = _family(rows[pid], below) | (in_group[pid] if self._files else set())
            reason = self._judge(process, pid, family)
            if reason:
                over[process] = reason
        self._born_with = {pid: size for pid, size in self._born_with.items() if pid in rows}
        return over

    def _judge(self, process: Process, pid: int, family: set[_Row]) -> str | None:
        limits = self._limits
        if sum(row.threads for row in family) > limits.processes:
            return f"more than {limits.processes} processes and threads"
        born_with = self._born_with.setdefault(pid, min(row.resident for row in family))
        resident = sum(max(0, row.resident - born_with) for row in family)
        if resident > limits.memory_mib * MIB and _own_memory(family, born_with) > limits.memory_mib * MIB:
            return "out_of_memory"
        if self._files:
            size, inodes = _usage(process.workspace, limits.workspace_inodes)
            size += _nameless(family)
            if size > limits.workspace_mib * MIB or inodes > limits.workspace_inodes:
                return f"a workspace larger than {limits.workspace_mib} MiB or {limits.workspace_inodes} files"
        return None


def _family(root: _Row, below: dict[int, list[_Row]]) -> set[_Row]:
    found, open_ends = {root}, [root]
    while open_ends:
        children = below[open_ends.pop().pid]
        found.update(children)
        open_ends += children
    return found


def _read_rows() -> dict[int, _Row]:
    rows = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit():
            continue
        try:
            fields = Path("/proc", name, "stat").read_bytes().rpartition(b") ")[2].split()
        except OSError:
            continue
        rows[int(name)] = _Row(int(name), int(fields[1]), int(fields[2]), int(fields[17]), int(fields[21]) * PAGE)
    return rows


def _own_memory(family: set[_Row], born_with: int) -> int:
    """Memory that is really theirs; pages shared with the fork server count where Linux does not let us look."""
    total = 0
    for row in family:
        try:
            lines = Path("/proc", str(row.pid), "smaps_rollup").read_text().splitlines()
        except OSError:
            total += max(0, row.resident - born_with)
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Pss_Shmem"))) * 1024
    return total


def _usage(folder: int, stop_at: int) -> tuple[int, int]:
    """Bytes and inodes below a folder descriptor; stops early above ``stop_at`` inodes, or where it is too deep."""
    size = inodes = 0
    try:
        for _, seen in walk_beneath(folder):
            inodes += 1
            size += seen.st_blocks * 512 if stat.S_ISREG(seen.st_mode) else 0
            if inodes > stop_at:
                break
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # nobody nests so deep but to hide something
            return size, stop_at + 1
    return size, inodes


def _nameless(family: set[_Row]) -> int:
    """Bytes of files without a name, which are there as long as somebody has them open."""
    sizes = {}
    for row in family:
        with suppress(OSError), os.scandir(f"/proc/{row.pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    seen = entry.stat()
                    if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 0:
                        sizes[seen.st_dev, seen.st_ino] = seen.st_blocks * 512
    return sum(sizes.values())
