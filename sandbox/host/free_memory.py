"""How much memory is left, for the machine and for the cgroups this process lives in.

Contract: :func:`free_mib` reads a handful of small files, 0.1 ms. Memory a cgroup holds as page cache counts as
free, as it does in the machine's own figure, because Linux takes it back on demand.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from sandbox.isolation.cgroups import controller_mounts, own_paths

KIB_PER_MIB = 1 << 10
MIB = 1 << 20
UNLIMITED = 1 << 60  # version 1 says a number where version 2 says "max"


@dataclass(frozen=True)
class Level:
    """One memory cgroup: its limit, its usage, and the key of reclaimable page cache in its statistics."""

    limit: Path
    usage: Path
    reclaimable: bytes

    def left_mib(self) -> int | None:
        """None where it has no limit."""
        most = _read(self.limit).strip()
        if most == b"max" or int(most) > UNLIMITED:
            return None
        stat = dict(line.split() for line in _read(self.limit.with_name("memory.stat")).splitlines())
        return (int(most) - int(_read(self.usage)) + int(stat[self.reclaimable])) // MIB


def free_mib() -> int:
    """The least that is left at any level."""
    return min([_of_machine(), *(left for level in levels() if (left := level.left_mib()) is not None)])


def _of_machine() -> int:
    _, found, rest = _read("/proc/meminfo").partition(b"MemAvailable:")
    if not found:
        raise OSError("/proc/meminfo says nothing of available memory")
    return int(rest.split(maxsplit=1)[0]) // KIB_PER_MIB


def _read(path: str | Path) -> bytes:
    """The whole of a small file, with nothing decoded: every kernel that starts waits for it."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.readall()


@functools.cache
def levels() -> list[Level]:
    """The own cgroup and every one around it that can be seen, of either version."""
    mounts, own = controller_mounts(), own_paths()
    found: list[Level] = []
    for mount, name in (("memory", "memory"), ("unified", "")):
        if mount in mounts and name in own:
            folder = mounts[mount] / own[name].lstrip("/")
            for place in (folder, *(above for above in folder.parents if above.is_relative_to(mounts[mount]))):
                for level in (
                    Level(place / "memory.max", place / "memory.current", b"inactive_file"),
                    Level(place / "memory.limit_in_bytes", place / "memory.usage_in_bytes", b"total_inactive_file"),
                ):
                    found += [level] if level.limit.exists() else []
    return found
