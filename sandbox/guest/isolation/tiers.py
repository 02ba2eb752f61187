"""The isolation tiers, composed of their layers, for the three processes that enter them.

T3: T2 and a cgroup that bounds memory and processes (created by the owner) · T2: namespaces, own root, Landlock,
seccomp, no capabilities · T1: Landlock, seccomp, limits, no capabilities; needs no privileges · T0: limits only. A
layer that fails raises, so a kernel is never less isolated than its tier promises. Code that runs in a kernel, here and
in the modules below, uses few functions and types (no ``Path``), because the first use of each copies a page.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

from sandbox.guest.isolation import landlock, namespaces, seccomp
from sandbox.guest.isolation.linux import (
    CLONE_NEWPID,
    PR_SET_PDEATHSIG,
    drop_capabilities,
    forbid_capabilities,
    map_self,
    prctl,
    unshare,
)

MIB = 1 << 20
SIGKILL = 9
WRITABLE_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
DRIVER_FACTS = ("driver", "devices", "modules")
"""Files below ``/proc`` that a driver library reads about its devices."""
OWN_FOLDERS, OWN_TEMPORARY = ("HOME", "PWD"), ("TMPDIR", "MPLCONFIGDIR", "IPYTHONDIR")
"""Variables that name the workspace: always, and where the kernel has no ``/tmp`` of its own."""
ETC_READABLE = ("passwd", "group", "hosts", *namespaces.ETC)


def has_namespaces(tier: str) -> bool:
    """Whether kernels of this tier run in their own namespaces."""
    return tier in ("T2", "T3")


def enter_supervisor(tier: str) -> None:
    """Called in the supervisor before it forks the fork server: creates the pid namespace of its children."""
    if has_namespaces(tier):
        if os.geteuid() != 0:
            map_self(os.geteuid())
        unshare(CLONE_NEWPID)


def enter_server(config: dict[str, Any]) -> None:
    """Called in the fork server before it imports large modules."""
    if has_namespaces(config["tier"]):
        namespaces.build_root(config["base"], _interpreter(config), config["hidden"], config["reach"])


def prepare(config: dict[str, Any]) -> dict[str, Any]:
    """Values that are computed once in the fork server and used by every kernel."""
    tier = config["tier"]
    inner = has_namespaces(tier)
    families = (seccomp.AF_UNIX, seccomp.AF_INET, seccomp.AF_INET6) if inner else ()
    return {
        "filter": seccomp.assemble(
            families, count_memory=tier != "T3", shared=not inner, deny_set_id=bool(config["reach"]["read_write"])
        ),
        "landlock": landlock.abi(),
        "read_only": [] if inner else _readable(config),
        "own_pids": os.open("/proc/self/ns/pid", os.O_RDONLY) if inner else -1,
    }


def enter_kernel(
    config: dict[str, Any], folder: str, limits: dict[str, Any], user: int | None, prepared: dict[str, Any]
) -> None:
    """Called in the forked kernel. Afterwards its current folder is the workspace and it cannot gain privileges."""
    tier = config["tier"]
    if has_namespaces(tier):
        namespaces.enter(limits, user)
    else:
        prctl(PR_SET_PDEATHSIG, SIGKILL)
        forbid_capabilities()
        os.mkdir(folder, 0o700)  # noqa: PTH102
        os.chdir(folder)
    home = os.getcwd()  # noqa: PTH109
    os.environ["USER"] = os.environ["LOGNAME"] = "agent"
    for name in OWN_FOLDERS if has_namespaces(tier) else (*OWN_FOLDERS, *OWN_TEMPORARY):
        os.environ[name] = home
    _limit(limits, has_namespaces(tier), prepared["initial_data_bytes"])
    if tier == "T0":
        return
    drop_capabilities()
    writable = [*WRITABLE_DEVICES, *config["reach"]["read_write"], *config["reach"]["devices"]]
    if has_namespaces(tier):
        landlock.restrict(["/"], [namespaces.HOME, "/tmp", "/dev/shm", *writable], prepared["landlock"], outside=False)
    else:
        own = [f"/proc/{os.getpid()}", *prepared["read_only"]]
        landlock.restrict(own, [home, *writable], prepared["landlock"])
    seccomp.load(prepared["filter"])


def _interpreter(config: dict[str, Any]) -> list[str]:
    """The folders the Python interpreter needs, outermost first."""
    executable = Path(sys.executable)
    places = {sys.base_prefix, sys.base_exec_prefix, str(executable.resolve().parents[1])}
    if (executable.parents[1] / "pyvenv.cfg").exists():
        places.add(str(executable.parents[1]))
    places.update(config["packages"])
    system = tuple(f"{folder}/" for folder in namespaces.SYSTEM)
    return sorted(place for place in places if place != "/usr" and not place.startswith(system))


def _readable(config: dict[str, Any]) -> list[str]:
    """Paths that a kernel without a mount namespace may read."""
    return [
        *namespaces.SYSTEM,
        *_interpreter(config),
        *(f"/etc/{name}" for name in ETC_READABLE),
        *(f"/proc/{name}" for name in ("cpuinfo", "meminfo", "stat", "loadavg", "version", "filesystems")),
        *(f"/dev/{name}" for name in ("random", "urandom")),
        *config["reach"]["read_only"],
        *(f"/proc/{name}" for name in DRIVER_FACTS if config["reach"]["devices"]),
    ]


def data_bytes() -> int:
    """The bytes of this process that RLIMIT_DATA counts."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def _limit(limits: dict[str, Any], own_user: bool, initial_bytes: int) -> None:
    """Sets resource limits. The process limit counts per user, so it applies only where the kernel has its own user.

    ``initial_bytes``: the bytes of data it has from the fork server.
    """
    for kind, value in (
        (resource.RLIMIT_DATA, limits["memory_mib"] * MIB + initial_bytes),
        (resource.RLIMIT_FSIZE, limits["workspace_mib"] * MIB),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_RTPRIO, 0),
        *([(resource.RLIMIT_NPROC, limits["processes"])] if own_user else []),
    ):
        resource.setrlimit(kind, (value, value))
