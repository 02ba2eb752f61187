"""Namespaces: the fork server's small read-only root, and each kernel's own namespaces on top of it.

Contract: :func:`build_root` runs once in the fork server (its own mount and pid namespace) and leaves it in a root that
contains only the interpreter, its packages and the system's libraries. :func:`unshare_next` runs there before each fork
and creates the network, IPC and host-name namespaces that the next kernel inherits. :func:`enter` runs in the kernel:
own mounts, a fresh ``/proc``, and three small memory file systems (workspace, ``/tmp``, ``/dev/shm``) that end with it.
The fork creates the pid namespace, see :mod:`sandbox.guest.zygote`. Costs about 1 ms per kernel, and another in the
fork server while it is idle. No cell can undo any of it: seccomp denies mount, unshare and setns.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.guest.isolation.bind_mounts import DEVICE, bind_into, bind_policy, map_owners
from sandbox.guest.isolation.linux import (
    ATTR_RDONLY,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    MS_BIND,
    MS_MOVE,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    forbid_capabilities,
    map_self,
    mount,
    pivot_root,
    set_mount_attributes,
    syscall,
    unshare,
)

HOME = "/home/agent"
PROXY = ("127.0.0.1", 3128)
"""Address of the egress proxy, in kernels whose policy lists hosts."""
GUEST_UID = 1000
SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "fonts", "ssl", "ca-certificates", "alternatives",
       "mime.types", "nsswitch.conf", "protocols", "services", "python3")  # fmt: skip
DEVICES = ("null", "zero", "full", "random", "urandom")
SYS_SETHOSTNAME = {"x86_64": 170, "aarch64": 161}
_NOSUID_NODEV = MS_NOSUID | MS_NODEV
_NEW_TMP = "/.tmp"
_shown_below_tmp: list[str] = []
"""Interpreter, packages and shared folders below /tmp; forked kernels inherit the list."""


def build_root(base: str, visible: list[str], hidden: list[str], reach: dict[str, Any]) -> None:
    """Enters a root made of the system folders and ``visible`` (interpreter and packages), all read-only.

    ``hidden``: folders in it that appear empty; ``reach``: the policy's folders and devices, see
    :func:`sandbox.isolation.policy.resolve_policy`.
    """
    unshare(CLONE_NEWNS)
    mount("", "/", flags=MS_REC | MS_PRIVATE)
    mount("root", base, "tmpfs", _NOSUID_NODEV, "size=1m,mode=755")
    root = Path(base)
    for path in SYSTEM:
        source = Path(path)
        if source.is_symlink():
            (root / path[1:]).symlink_to(source.readlink())
        elif source.is_dir():
            bind_into(root, path, path)
    for name in ETC:
        if Path("/etc", name).exists():
            bind_into(root, f"/etc/{name}", f"/etc/{name}")
    (root / "tmp").mkdir()
    mount("tmp", str(root / "tmp"), "tmpfs", _NOSUID_NODEV, "size=16m,mode=755")
    shown = [*reach["read_only"], *reach["read_write"]]
    for path in visible:
        if not (root / path[1:]).exists():
            bind_into(root, path, path)
            shown.append(path)
    for path in hidden:
        mount("hidden", str(root / path[1:]), "tmpfs", _NOSUID_NODEV | MS_RDONLY, "size=4k,mode=755")
    _write_accounts(root / "etc")
    for name in DEVICES:
        bind_into(root, f"/dev/{name}", f"/dev/{name}", DEVICE)
    bind_policy(root, reach)
    _shown_below_tmp.extend(path for path in shown if path.startswith("/tmp/"))
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (root / "dev" / name).symlink_to(target)
    for place in (HOME[1:], _NEW_TMP[1:], "dev/shm", "proc"):
        (root / place).mkdir(parents=True, exist_ok=True)
    # before the host's /proc is gone: without privileges Linux allows only what a visible /proc already shows
    mount("proc", str(root / "proc"), "proc", _NOSUID_NODEV)
    pivot_root(base)
    set_mount_attributes("/", ATTR_RDONLY, recursive=False)


def _bind(source: str, target: str) -> None:
    """Binds a folder or file of the root at another path, creating the folders above it."""
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    mount(source, target, flags=MS_BIND | MS_REC)


def _write_accounts(etc: Path) -> None:
    (etc / "passwd").write_text(f"root:x:0:0::/:/bin/sh\nagent:x:{GUEST_UID}:{GUEST_UID}::{HOME}:/bin/sh\n")
    (etc / "group").write_text(f"root:x:0:\nagent:x:{GUEST_UID}:\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")


def unshare_next() -> None:
    """Enters new network, IPC and host-name namespaces, which the next forked kernel inherits."""
    unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
    syscall("sethostname", SYS_SETHOSTNAME[os.uname().machine], b"sandbox", 7)
    _loopback_up()


def enter(limits: dict[str, Any], user: int | None) -> None:
    """Sets up this kernel's mounts and user.

    ``user``: its user id, if this process is root; otherwise None, and it gets a user namespace.
    """
    unshare(CLONE_NEWNS)
    owner = f",uid={user},gid={user}" if user is not None else ""
    inodes = limits["workspace_inodes"]
    size = limits["workspace_mib"]
    mount("workspace", HOME, "tmpfs", _NOSUID_NODEV, f"size={size}m,nr_inodes={inodes},mode=700{owner}")
    mount("tmp", _NEW_TMP, "tmpfs", _NOSUID_NODEV, f"size={size}m,nr_inodes={inodes},mode=700{owner}")
    for path in _shown_below_tmp:
        _bind(path, _NEW_TMP + path.removeprefix("/tmp"))
    mount(_NEW_TMP, "/tmp", flags=MS_MOVE)
    mount("shm", "/dev/shm", "tmpfs", _NOSUID_NODEV, f"size=64m,nr_inodes=1000,mode=700{owner}")
    mount("proc", "/proc", "proc", _NOSUID_NODEV)
    if user is None:
        map_self(GUEST_UID)
        forbid_capabilities()
    else:
        map_owners(user)
        forbid_capabilities()
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.chdir(HOME)


def _loopback_up() -> None:
    """Brings up the loopback interface, the only one of the kernel."""
    flags_of, set_flags, up = 0x8913, 0x8914, 1
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        current = struct.unpack("16sH14x", fcntl.ioctl(sock, flags_of, request))[1]
        fcntl.ioctl(sock, set_flags, struct.pack("16sH14x", b"lo", current | up))


def listen_for_proxy() -> int:
    """A listening socket on the kernel's own loopback, as a descriptor for the host to accept on."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(PROXY)
    sock.listen(64)
    return sock.detach()
