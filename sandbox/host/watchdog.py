"""Enforces limits by looking, in tiers where no mechanism bounds them.

Contract: once a second, one pass over ``/proc`` sums up threads and memory of each kernel's processes; in tiers whose
kernels have no file system of their own, also the workspace and open files without a name. A kernel over a limit is
killed and the reason kept, together with the forks in its sandbox. A kernel can exceed a limit between two passes,
so the probe reports ``partial``. Costs about 20 µs per process of the machine and pass, in a thread.
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

from sandbox.host.process import Process
from sandbox.host.procfs import ProcessStat, memory_bytes, read_all_stats
from sandbox.limits import Limits
from sandbox.workspace.walk import walk_beneath

INTERVAL_S = 1.0
MIB = 1 << 20
log = logging.getLogger(__name__)


def start_watchdog(taken: Iterable[Process], limits: Limits, tier: str) -> asyncio.Task[None] | None:
    """Starts a watchdog over ``taken``, a collection that may change; None in T3, whose mechanisms bound everything."""
    if tier == "T3":
        return None
    return asyncio.ensure_future(Watchdog(taken, limits, files=tier in ("T1", "T0")).run())


class Watchdog:
    """Checks the processes in ``taken``, a live collection, until it is cancelled."""

    def __init__(self, taken: Iterable[Process], limits: Limits, files: bool) -> None:
        """``files``: check the size of workspaces, too."""
        self._taken, self._limits, self._files = taken, limits, files
        self._baselines: dict[int, int] = {}
        """Resident bytes of each kernel at its first pass: mostly pages shared with the fork server."""

    async def run(self) -> None:
        """Never returns. A pass that fails is logged and the next one follows."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self._kill_offenders()
            except Exception:
                log.exception("the watchdog could not check the kernels")

    async def _kill_offenders(self) -> None:
        # the sandbox of a fork may have ended, although the fork's handle does not know it yet
        watched = {process: (process.root or process).pid() for process in tuple(self._taken) if process.pidfd >= 0}
        if watched:
            offenders = await asyncio.to_thread(self._find_offenders, watched)
            for process, reason in offenders.items():
                process.reason = process.reason or reason
                process.kill()

    def _find_offenders(self, watched: dict[Process, int]) -> dict[Process, str]:
        stats = read_all_stats()
        by_parent, by_group = defaultdict(list), defaultdict(set)
        for each in stats.values():
            by_parent[each.parent].append(each)
            by_group[each.group].add(each)
        offenders = {}
        for process, pid in watched.items():
            if pid not in stats:
                continue
            tree = _process_tree(stats[pid], by_parent) | (by_group[pid] if self._files else set())
            reason = self._violation(process, pid, tree)
            if reason:
                offenders[process] = reason
        self._baselines = {pid: size for pid, size in self._baselines.items() if pid in stats}
        return offenders

    def _violation(self, process: Process, pid: int, tree: set[ProcessStat]) -> str | None:
        """The limit a kernel exceeds, in words."""
        limits = self._limits
        if sum(each.threads for each in tree) > limits.processes:
            return f"more than {limits.processes} processes and threads"
        baseline = self._baselines.setdefault(pid, min(each.resident for each in tree))
        resident = sum(max(0, each.resident - baseline) for each in tree)
        if resident > limits.memory_mib * MIB and _private_memory(tree, baseline) > limits.memory_mib * MIB:
            return "out_of_memory"
        if self._files:
            size, inodes = _disk_usage(process.workspace, limits.workspace_inodes)
            size += _unlinked_bytes(tree)
            if size > limits.workspace_mib * MIB or inodes > limits.workspace_inodes:
                return f"a workspace larger than {limits.workspace_mib} MiB or {limits.workspace_inodes} files"
        return None


def _process_tree(root: ProcessStat, by_parent: dict[int, list[ProcessStat]]) -> set[ProcessStat]:
    found, frontier = {root}, [root]
    while frontier:
        below = by_parent[frontier.pop().pid]
        found.update(below)
        frontier += below
    return found


def _private_memory(tree: set[ProcessStat], baseline: int) -> int:
    """Bytes the processes do not share with the fork server; resident above ``baseline`` where Linux hides them."""
    total = 0
    for each in tree:
        private = memory_bytes(each.pid, "Private_Dirty", "Pss_Shmem")
        total += max(0, each.resident - baseline) if private is None else private
    return total


def _disk_usage(folder: int, max_inodes: int) -> tuple[int, int]:
    """Bytes and inodes below a folder descriptor; stops above ``max_inodes`` and where paths become too long."""
    size = inodes = 0
    try:
        for _, seen in walk_beneath(folder):
            inodes += 1
            size += seen.st_blocks * 512 if stat.S_ISREG(seen.st_mode) else 0
            if inodes > max_inodes:
                break
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # such depth only hides files, so it counts as a violation
            return size, max_inodes + 1
    return size, inodes


def _unlinked_bytes(tree: set[ProcessStat]) -> int:
    """Bytes of deleted files that the processes still hold open."""
    sizes = {}
    for each in tree:
        with suppress(OSError), os.scandir(f"/proc/{each.pid}/fd") as entries:
            for entry in entries:
                with suppress(OSError):
                    seen = entry.stat()
                    if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 0:
                        sizes[seen.st_dev, seen.st_ino] = seen.st_blocks * 512
    return sum(sizes.values())
