"""The Linux calls Python has no name for, through ctypes. Each raises OSError with the call's name."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 1, 2, 4, 0x1000, 0x2000, 0x4000, 0x40000
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
PR_SET_DUMPABLE = 4
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
SYS_MOUNT_SETATTR = 442
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
MACHINE = os.uname().machine

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def check(result: int, what: str) -> int:
    """The result of a C call, or its error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *arguments: Any) -> int:
    """A system call by number."""
    return check(_libc.syscall(ctypes.c_long(number), *arguments), what)


def prctl(option: int, value: int = 0) -> int:
    """One-argument prctl."""
    return check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option})")


def unshare(flags: int) -> None:
    """New namespaces for this process (for its children in the case of CLONE_NEWPID)."""
    check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int) -> None:
    """Enters the namespace behind ``fd``."""
    check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    fields = [field.encode() or None for field in (source, target, kind, data)]
    check(_libc.mount(*fields[:3], flags, fields[3]), f"mount {kind or source} on {target}")


def unmount(target: str) -> None:
    """Detaches a mount."""
    check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def protect(target: str, attributes: int, recursive: bool = True) -> None:
    """Adds mount attributes (ATTR_*) to a mount; never takes one away, so flags locked by the host stay."""
    attr = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    syscall(f"mount_setattr {target}", SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), flags, attr, len(attr))


def enter_root(folder: str) -> None:
    """Makes ``folder`` (a mount) the root and drops the old one."""
    os.chdir(folder)
    syscall("pivot_root", SYS_PIVOT_ROOT[MACHINE], b".", b".")
    unmount(".")
    os.chdir("/")


def drop_capabilities() -> None:
    """Leaves no capability in any set."""
    syscall("capset", SYS_CAPSET[MACHINE], struct.pack("Ii", 0x20080522, 0), bytes(24))


def forbid_capabilities() -> None:
    """Leaves none to gain, either. Must come before the user changes; does nothing where the right to it is missing."""
    last = int(open("/proc/sys/kernel/cap_last_cap").read())  # noqa: PTH123, SIM115
    for capability in range(last + 1):
        _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)


def map_self(inside: int) -> None:
    """In a fresh user namespace: the own user and group appear as ``inside``. Call :func:`unshare` through here."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {user} 1"),
        ("gid_map", f"{inside} {group} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
