"""Resources held by this process and its descendants, counted before and after to find leaks."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sandbox.host.procfs import descendants, memory_bytes


class Footprint(BaseModel):
    """Counts of resources that may leak."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int
    """Descendants, threads not counted."""
    descriptors: int
    """Open files of this process and its descendants."""
    mounts: int
    """Lines of their mount tables."""
    cgroups: int
    """Cgroups of kernels below this process's own."""
    folders: int
    """Folders of sandboxes among the temporary files."""
    memory_mb: float
    """Private memory of this process and its descendants."""


def measure_footprint() -> Footprint:
    """Counts the resources held now."""
    below = descendants(os.getpid())
    return Footprint(
        processes=len(below),
        descriptors=sum(_entries(f"/proc/{pid}/fd") for pid in (os.getpid(), *below)),
        mounts=sum(_lines(f"/proc/{pid}/mountinfo") for pid in (os.getpid(), *below)),
        cgroups=len(cgroup_folders(os.getpid())),
        folders=sum(1 for _ in Path("/tmp").glob(f"codeact-sandbox-{os.getpid()}-*/*")),
        memory_mb=sum(_private_mb(pid) for pid in (os.getpid(), *below)),
    )


def cgroup_folders(owner: int) -> list[Path]:
    """Cgroup folders of the kernels of a process's pools, in every hierarchy."""
    return [Path(home, name) for home in cgroup_homes(owner) for name in next(os.walk(home), ("", [], []))[1]]


def cgroup_homes(owner: int) -> list[Path]:
    """Cgroup folders of a process's pools, in every hierarchy. Others may be removed at the same time."""
    return [
        Path(parent, name)
        for root in _cgroup_roots()
        for parent, names, _ in os.walk(root)
        for name in names
        if name.startswith(f"codeact-{owner}-")
    ]


def _cgroup_roots() -> list[Path]:
    roots = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ")[:3]
        if kind == "cgroup2" or (kind == "cgroup" and {"memory", "pids"} & set(options.split(","))):
            roots.append(Path(fields.split(" ")[4]))
    return roots


def _private_mb(pid: int) -> float:
    return (memory_bytes(pid, "Private_Dirty") or 0) / 1e6


def _entries(path: str) -> int:
    try:
        return len(os.listdir(path))  # noqa: PTH208
    except OSError:
        return 0


def _lines(path: str) -> int:
    try:
        return len(Path(path).read_text().splitlines())
    except OSError:
        return 0
