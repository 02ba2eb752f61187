"""Linux system calls that Python does not expose, through ctypes. Each raises OSError with the call's name."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
from typing import IO, Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 1, 2, 4, 0x1000, 0x2000, 0x4000, 0x40000
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
PR_SET_DUMPABLE = 4
ATTR_IDMAP = 0x100000
AT_FDCWD, AT_RECURSIVE, AT_EMPTY_PATH = -100, 0x8000, 0x1000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = 1, 4
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
HUGE_PAGE, MADV_COLLAPSE = 2 << 20, 25
CAPABILITIES = 64
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
MACHINE = os.uname().machine

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def check(result: int, what: str) -> int:
    """Returns the result of a C call, or raises its error."""
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


def set_mount_attributes(target: str, attributes: int, recursive: bool = True) -> None:
    """Adds mount attributes (ATTR_*) to a mount; never removes one, so flags locked by the host stay."""
    attr = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    syscall(f"mount_setattr {target}", SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), flags, attr, len(attr))


def map_mount(folder: str, namespace: int) -> None:
    """Mounts ``folder`` over itself with ids mapped by a user namespace; mounts below it stay unmapped."""
    tree = syscall("open_tree", SYS_OPEN_TREE, AT_FDCWD, folder.encode(), OPEN_TREE_CLONE | AT_RECURSIVE | os.O_CLOEXEC)
    try:
        attr = struct.pack("QQQQ", ATTR_IDMAP, 0, 0, namespace)
        syscall(f"mount_setattr {folder}", SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attr, len(attr))
        target = folder.encode()
        syscall(f"move_mount {folder}", SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


def pivot_root(folder: str) -> None:
    """Makes ``folder`` (a mount) the root and detaches the old one."""
    os.chdir(folder)
    syscall("pivot_root", SYS_PIVOT_ROOT[MACHINE], b".", b".")
    unmount(".")
    os.chdir("/")


def collapse_memory() -> None:
    """Moves memory into huge pages that it fills at least by half, so that a fork copies one entry instead of 512.

    Pages a fork writes are still copied in small pages (Linux 5.8). Does nothing before Linux 6.1.
    """
    with open("/proc/self/pagemap", "rb", buffering=0) as pages:  # noqa: PTH123
        for begin, end in allocated():
            for address in range(-(-begin // HUGE_PAGE) * HUGE_PAGE, end - HUGE_PAGE + 1, HUGE_PAGE):
                if 2 * _present(pages, address) >= HUGE_PAGE // mmap.PAGESIZE:
                    _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(HUGE_PAGE), MADV_COLLAPSE)


def allocated() -> list[tuple[int, int]]:
    """Address ranges of this process's anonymous memory."""
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        rows = [line.split() for line in maps]
    ranges = [row[0].split("-") for row in rows if row[1].startswith("rw") and (len(row) == 5 or row[5] == "[heap]")]
    return [(int(begin, 16), int(end, 16)) for begin, end in ranges]


def _present(pages: IO[bytes], address: int) -> int:
    """How many small pages of the huge page at ``address`` are in memory, according to the page map."""
    count = HUGE_PAGE // mmap.PAGESIZE
    pages.seek(address // mmap.PAGESIZE * 8)
    return sum(entry >> 63 for entry in struct.unpack(f"{count}Q", pages.read(count * 8)))


def drop_capabilities() -> None:
    """Clears every capability set."""
    syscall("capset", SYS_CAPSET[MACHINE], struct.pack("Ii", 0x20080522, 0), bytes(24))


def forbid_capabilities() -> None:
    """Clears the bounding set, so that none can be gained. Call before changing the user; needs CAP_SETPCAP."""
    for capability in range(CAPABILITIES):
        if _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:  # no right, or the last capability
            return


def map_self(inside: int) -> None:
    """Enters a new user namespace in which this process's user and group have the id ``inside``."""
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


def mapping_namespace(owner: tuple[int, int], user: int) -> int:
    """A descriptor of a user namespace that maps the user and group ``owner`` to ``user``. Costs a fork."""
    done_read, done_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            unshare(CLONE_NEWUSER)
            os.write(done_write, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(done_write)
    try:
        if not os.read(done_read, 1):
            raise OSError("a user namespace cannot be created")
        for name, number in zip(("uid_map", "gid_map"), owner, strict=True):
            fd = os.open(f"/proc/{child}/{name}", os.O_WRONLY)
            try:
                os.write(fd, f"{number} {user} 1".encode())
            finally:
                os.close(fd)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(done_read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
