"""How much memory is free, in the machine and in the cgroups this process lives in.

Contract: :func:`free_mib` reads a handful of small files, 0.1 ms. Page cache of a cgroup counts as free, as in the
machine's own figure, because Linux reclaims it on demand.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from sandbox.isolation.cgroups import controller_mounts, own_paths

KIB_PER_MIB = 1 << 10
MIB = 1 << 20
UNLIMITED = 1 << 60  # version 1 writes a large number where version 2 writes "max"


@dataclass(frozen=True)
class MemoryCgroup:
    """One memory cgroup: its limit, its usage, and the key of reclaimable page cache in its statistics."""

    limit: Path
    usage: Path
    reclaimable: bytes

    def free_mib(self) -> int | None:
        """None when it has no limit."""
        limit = _read(self.limit).strip()
        if limit == b"max" or int(limit) > UNLIMITED:
            return None
        stat = dict(line.split() for line in _read(self.limit.with_name("memory.stat")).splitlines())
        return (int(limit) - int(_read(self.usage)) + int(stat[self.reclaimable])) // MIB


def free_mib() -> int:
    """The minimum over the machine and every cgroup with a limit."""
    return min([_machine_free_mib(), *(free for cgroup in memory_cgroups() if (free := cgroup.free_mib()) is not None)])


def _machine_free_mib() -> int:
    _, found, rest = _read("/proc/meminfo").partition(b"MemAvailable:")
    if not found:
        raise OSError("/proc/meminfo has no line MemAvailable")
    return int(rest.split(maxsplit=1)[0]) // KIB_PER_MIB


def _read(path: str | Path) -> bytes:
    """A small file, undecoded: this is on the path of every kernel start."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.readall()


@functools.cache
def memory_cgroups() -> list[MemoryCgroup]:
    """This process's memory cgroup and every visible one above it, of either version."""
    mounts, own = controller_mounts(), own_paths()
    found: list[MemoryCgroup] = []
    for mount, name in (("memory", "memory"), ("unified", "")):
        if mount in mounts and name in own:
            folder = mounts[mount] / own[name].lstrip("/")
            for each in (folder, *(above for above in folder.parents if above.is_relative_to(mounts[mount]))):
                for cgroup in (
                    MemoryCgroup(each / "memory.max", each / "memory.current", b"inactive_file"),
                    MemoryCgroup(
                        each / "memory.limit_in_bytes", each / "memory.usage_in_bytes", b"total_inactive_file"
                    ),
                ):
                    found += [cgroup] if cgroup.limit.exists() else []
    return found
