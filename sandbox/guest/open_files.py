"""Open files of a forked kernel: what it gets for itself, what it shares with its parent, what is closed.

Contract: a fork inherits descriptors, positions included. In a branch, :func:`separate` opens the workspace's files
again, in the branch's copy and at their position, and maps them again where they are mapped; the Python objects stay
valid. Other files are opened again at the same path, so the position is the branch's own and the content is shared.
Pipes and sockets are replaced by closed connections under the same numbers: if they were shared, the other side would
never see an end that a sleeping copy holds open. All that is shared or closed is named. In tier T1 a kernel with
checkpoints cannot see its mapped files. Costs about 10 µs per open file.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import select
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sandbox.guest.interpreter import moved

MAP_FIXED, MAP_FAILED = 0x10, ctypes.c_void_p(-1).value
KEPT_FLAGS = ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
ANONYMOUS = ("/dev/zero (deleted)", "/SYSV", "/memfd:")
"""What Linux calls shared memory that is no file."""
OWN_MEMORY = "/memfd:output (deleted)"
"""The memory in which the host finds a kernel's output; each fork has its own."""


@dataclass(frozen=True)
class OpenFile:
    """One descriptor from 3 on."""

    fd: int
    mode: int
    name: str
    """Its path, or what Linux shows in its place."""


def cut_connections(kept: set[int]) -> list[str]:
    """Replaces every pipe and socket by a closed connection, so that their numbers stay taken; names them."""
    dead, other = socket.socketpair()
    other.close()
    kept = {*kept, dead.fileno()}
    own, cut = set(_event_loop_fds()), []
    for file in open_files():
        if file.fd not in kept and (stat.S_ISFIFO(file.mode) or stat.S_ISSOCK(file.mode)):
            os.dup2(dead.fileno(), file.fd, inheritable=False)
            if file.fd not in own:
                cut.append(f"{'pipe' if stat.S_ISFIFO(file.mode) else 'socket'} (descriptor {file.fd}): closed")
    dead.close()
    return cut


def forget_event_loop() -> None:
    """Makes the next cell with ``await`` begin an event loop; the parent's is woken through its own sockets."""
    helpers: Any = sys.modules.get("IPython.core.async_helpers")
    if helpers is not None:
        helpers._asyncio_event_loop = None


def separate(old: str, new: str) -> list[str]:
    """Gives a branch its own open files; names those that it shares with its parent all the same.

    ``old``: the parent's folder, ``new``: the copy of it in which the branch works.
    """
    shared, own = [], set(_event_loop_fds())
    for file in open_files():
        if stat.S_ISREG(file.mode) or stat.S_ISDIR(file.mode):
            shared += _reopen(file, old, new)
        elif file.name.startswith("anon_inode:") and file.fd not in own:
            shared.append(f"{file.name} (descriptor {file.fd}): shared")
    for mapping in _mappings():
        shared += mapping.separate(old, new)
    return shared


def file_positions() -> dict[int, int]:
    """The position of each open file. Forks share it, and the other side continues to read and write."""
    return {file.fd: os.lseek(file.fd, 0, os.SEEK_CUR) for file in open_files() if stat.S_ISREG(file.mode)}


def open_files() -> list[OpenFile]:
    """The open descriptors from 3 on."""
    found = []
    for fd in _numbers():
        with suppress(OSError):  # the descriptor of the listing itself
            mode, name = os.fstat(fd).st_mode, ""
            with suppress(OSError):
                name = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
            found.append(OpenFile(fd, mode, name))
    return found


def _reopen(file: OpenFile, old: str, new: str) -> list[str]:
    """Replaces a descriptor by one of the branch's own; returns a line when both still have the same file."""
    path = moved(file.name, old, new)
    try:
        if path == file.name and not os.path.samestat(os.stat(path), os.fstat(file.fd)):  # noqa: PTH116
            raise FileNotFoundError("its name is another file's now")
        flags = fcntl.fcntl(file.fd, fcntl.F_GETFL)
        own = os.open(path, flags & KEPT_FLAGS)
        try:
            if stat.S_ISREG(file.mode):
                os.lseek(own, os.lseek(file.fd, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(own, file.fd, inheritable=os.get_inheritable(file.fd))
        finally:
            os.close(own)
    except OSError:
        return [f"{file.name} (descriptor {file.fd}): shared, position included"]
    same = path == file.name and stat.S_ISREG(file.mode) and (flags & os.O_ACCMODE or _writable(path))
    return [f"{path} (descriptor {file.fd}): the same file"] if same else []


def _writable(path: str) -> bool:
    """Whether a kernel can change the file; ``os.access`` does not see Landlock."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class _Mapping:
    """Shared, writable memory of this process."""

    start: int
    length: int
    offset: int
    path: str

    def separate(self, old: str, new: str) -> list[str]:
        """Maps the branch's own file instead; returns a line when the memory stays shared."""
        path = moved(self.path, old, new)
        if path == self.path:
            kind = "shared memory" if self.path.startswith(ANONYMOUS) else f"{self.path} (mapped)"
            return [f"{kind}: shared"]
        try:
            fd = os.open(path, os.O_RDWR)
        except OSError:
            return [f"{self.path} (mapped): shared"]
        try:
            libc: Any = ctypes.CDLL(None, use_errno=True)
            libc.mmap.restype = ctypes.c_void_p
            libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
            protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | MAP_FIXED
            result = libc.mmap(self.start, self.length, protection, flags, fd, self.offset)
        finally:
            os.close(fd)
        return [f"{self.path} (mapped): shared"] if result == MAP_FAILED else []


def _mappings() -> Iterator[_Mapping]:
    for pid in ("self", os.getppid()):  # in T1 a fork may read its parent's only, if that is the first process
        with suppress(OSError), open(f"/proc/{pid}/maps") as lines:  # noqa: PTH123
            for line in lines:
                addresses, rights, offset, _, inode, *path = line.split(maxsplit=5)
                name = path[0].rstrip("\n") if path else ""
                if rights[1] == "w" and rights[3] == "s" and inode != "0" and name != OWN_MEMORY:
                    start, end = (int(address, 16) for address in addresses.split("-"))
                    yield _Mapping(start, end - start, int(offset, 16), name)
            return


def _event_loop_fds() -> Iterator[int]:
    """Descriptors of the event loop that runs cells with ``await``; a fork begins another one."""
    loop: Any = getattr(sys.modules.get("IPython.core.async_helpers"), "_asyncio_event_loop", None)
    with suppress(AttributeError, ValueError):
        yield from (loop._ssock.fileno(), loop._csock.fileno(), loop._selector.fileno())


def _numbers() -> list[int]:
    """Open descriptor numbers from 3 on. In tier T1 a fork cannot list them, but ``poll`` reports closed numbers."""
    with suppress(OSError):
        return [fd for name in os.listdir("/proc/self/fd") if (fd := int(name)) > 2]  # noqa: PTH208
    numbers, every = range(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), select.poll()
    for fd in numbers:
        every.register(fd, 0)
    closed = {fd for fd, event in every.poll(0) if event & select.POLLNVAL}
    return [fd for fd in numbers if fd not in closed]
