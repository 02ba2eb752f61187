"""A cgroup per kernel, where this process may make one: version 2 with delegated controllers, or version 1 as root.

Contract: :func:`find` makes the pool's folders under this process's cgroup, or returns the reason why it cannot. A
kernel's cgroup bounds the memory of all its processes together, files in memory included, their number and, if
requested, their processor time. It is removed with the kernel; the supervisor removes what a killed owner leaves.
Costs about 0.3 ms per kernel.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.isolation.owned_folders import is_abandoned, owner_tag, tag_of

MIB = 1 << 20
CONTROLLERS = ("memory", "pids")
CPU_PERIOD_US = 100_000
TCP_PART = 4
"""Version 1 counts TCP buffers apart from memory, and only where they have a limit: memory divided by this."""


@dataclass(frozen=True)
class Cgroup:
    """The folders of one kernel: one in version 2, one per controller in version 1."""

    folders: tuple[Path, ...]

    def add(self, pid: int) -> None:
        """Moves a process in, and thereby its later children. Linux takes a machine-wide lock for it, 10-30 ms."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def open_entries(self) -> list[int]:
        """Descriptors through which a single-threaded process enters by writing ``0``.

        In version 1 that is the ``tasks`` file, which takes no lock for the writer itself (Linux 5.17 and later).
        """
        files = [folder / "tasks" for folder in self.folders]
        files = [file if file.exists() else file.with_name("cgroup.procs") for file in files]
        opened: list[int] = []
        try:
            for file in files:
                opened.append(os.open(file, os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        return opened

    def memory_kills(self) -> int:
        """How many of its processes Linux has killed for lack of memory."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                if (folder / name).exists():
                    counts = dict(line.split() for line in (folder / name).read_text().splitlines())
                    return int(counts.get("oom_kill", 0))
        return 0

    def remove(self) -> None:
        """Removes the folders, waiting a moment for the last process to leave."""
        for folder in self.folders:
            remove_folder(folder)


@dataclass(frozen=True)
class CgroupHome:
    """The folders of one pool, in which the cgroups of its kernels are made."""

    folders: tuple[Path, ...]

    def make(self, name: str, memory_mib: int, processes: int, cpus: float | None = None) -> Cgroup:
        """A cgroup with its limits set; ``cpus`` needs a home that was found with ``cpu=True``. Raises OSError."""
        made = []
        for folder in self.folders:
            own = folder / name
            own.mkdir()
            made.append(own)
            _set(own, ("memory.max", "memory.limit_in_bytes"), memory_mib * MIB)
            _set(own, ("memory.swap.max",), 0)
            _set(own, ("memory.kmem.tcp.limit_in_bytes",), memory_mib * MIB // TCP_PART)
            _set(own, ("pids.max",), processes)
            if cpus is not None:
                quota = round(cpus * CPU_PERIOD_US)
                _set(own, ("cpu.cfs_period_us",), CPU_PERIOD_US)
                _set(own, ("cpu.cfs_quota_us",), quota)
                _set(own, ("cpu.max",), f"{quota} {CPU_PERIOD_US}")
        return Cgroup(tuple(made))

    def remove(self) -> None:
        """Removes the pool's folders and everything left in them."""
        for folder in self.folders:
            _remove_home(folder)


def find(cpu: bool = False) -> CgroupHome | str:
    """Makes the folders of a pool, or returns why it cannot. ``cpu``: processor time is to be bounded, too."""
    controllers = (*CONTROLLERS, "cpu") if cpu else CONTROLLERS
    mounts = controller_mounts()
    own = own_paths()
    try:
        if "unified" in mounts and "" in own:
            root = mounts["unified"] / own[""].lstrip("/")
            if set(controllers) <= set((root / "cgroup.controllers").read_text().split()):
                return _version_2(root, controllers)
        if all(name in mounts and name in own for name in controllers):
            parents = list(dict.fromkeys(mounts[name] / own[name].lstrip("/") for name in controllers))
            return _version_1(parents)
    except OSError as error:
        return f"cgroups are there but not for this user: {error}"
    return f"no cgroup with the controllers {', '.join(controllers)}"


def _version_1(parents: list[Path]) -> CgroupHome:
    made: list[Path] = []
    try:
        for parent in parents:
            made.append(_make_home(parent))
    except OSError:
        CgroupHome(tuple(made)).remove()
        raise
    return CgroupHome(tuple(made))


def _version_2(root: Path, controllers: tuple[str, ...]) -> CgroupHome:
    """A cgroup that delegates controllers must hold no process, so this process moves into a child folder first."""
    control = root / "cgroup.subtree_control"
    wanted = " ".join(f"+{name}" for name in controllers)
    if not set(controllers) <= set(control.read_text().split()):
        try:
            control.write_text(wanted)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            leaf = root / "codeact-owner"
            leaf.mkdir(exist_ok=True)
            for pid in (root / "cgroup.procs").read_text().split():
                (leaf / "cgroup.procs").write_text(pid)
            control.write_text(wanted)
    home = _make_home(root)
    (home / "cgroup.subtree_control").write_text(wanted)
    return CgroupHome((home,))


def _make_home(parent: Path) -> Path:
    _remove_orphaned_homes(parent)
    return Path(tempfile.mkdtemp(prefix=f"codeact-{owner_tag()}-", dir=parent))


def _remove_orphaned_homes(parent: Path) -> None:
    """Removes folders of pools whose owner and all that guarded it were killed."""
    for folder in parent.glob("codeact-*-*/"):
        tag = tag_of(folder.name, "codeact")
        if tag is not None and is_abandoned(tag):
            _remove_home(folder)


def _remove_home(home: Path) -> None:
    """Removes the folders of a pool. Another process may remove them at the same time."""
    with suppress(FileNotFoundError):
        for child in home.glob("*/"):
            remove_folder(child)
    remove_folder(home)


def remove_folder(folder: Path) -> None:
    """Calls rmdir, for half a second again while the cgroup is busy."""
    for _ in range(50):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(0.01)
        else:
            return


def _set(folder: Path, names: tuple[str, ...], value: int | str) -> None:
    for name in names:
        if (folder / name).exists():
            (folder / name).write_text(str(value))


def controller_mounts() -> dict[str, Path]:
    """Controller (version 1) or ``unified`` (version 2) to its mount point."""
    return {name: mount_point for name, mount_point, _ in _mounts()}


def own_paths() -> dict[str, str]:
    """Controller to the path of this process's cgroup below the mount point; the empty name is version 2."""
    parts = {name: part for name, _, part in _mounts()}
    found = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            # in a container with version 1 the path is the whole one, but only a part of the hierarchy is mounted
            found[name] = path.removeprefix(parts.get(name or "unified", "/").rstrip("/"))
    return found


def _mounts() -> Iterator[tuple[str, Path, str]]:
    """Controller or ``unified``, mount point, and the part of the hierarchy that is mounted there."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ")[:3]
        part, mount_point = fields.split(" ")[3:5]
        if kind in ("cgroup", "cgroup2"):
            for name in ("unified",) if kind == "cgroup2" else options.split(","):
                yield name, Path(mount_point), part
