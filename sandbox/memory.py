"""How much memory is left, for the machine and for the cgroups this process lives in.

Contract: :func:`free_mib` reads files of ``/proc`` and of the cgroup file system, about 0.1 ms. Memory a cgroup holds
as page cache counts as free, as it does in the machine's own figure, because Linux takes it back on demand.
"""

from __future__ import annotations

import functools
from pathlib import Path

from sandbox.cgroups import controller_mounts, own_paths

KIB_PER_MIB = 1 << 10
MIB = 1 << 20
# limit, usage, the key of reclaimable page cache in memory.stat: version 2, version 1
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def free_mib() -> int:
    """The least that is left at any level."""
    return min([_of_machine(), *(room for folder in _own_folders() if (room := _of_cgroup(folder)) is not None)])


def _of_machine() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // KIB_PER_MIB
    raise OSError("/proc/meminfo says nothing of available memory")


def _of_cgroup(folder: Path) -> int | None:
    """What is left in one cgroup; None where it has no limit."""
    for limit, usage, reclaimable in _FILES:
        try:
            most, used = (folder / limit).read_text().strip(), int((folder / usage).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except OSError:
            continue
        if most == "max":
            return None
        return (int(most) - used + int(stat.get(reclaimable, 0))) // MIB
    return None


@functools.cache
def _own_folders() -> list[Path]:
    """The own cgroup and every one around it that can be seen."""
    mounts, own = controller_mounts(), own_paths()
    folders: list[Path] = []
    for mount, path in (("memory", "memory"), ("unified", "")):
        if mount in mounts and path in own:
            folder = mounts[mount] / own[path].lstrip("/")
            folders += [folder, *(above for above in folder.parents if above.is_relative_to(mounts[mount]))]
    return folders
