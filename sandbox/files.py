"""Files in and out of a workspace, without ever following what a cell left there.

Contract: paths are relative to the workspace. Every step goes through ``openat2`` with RESOLVE_BENEATH, no symlinks and
no magic links, so a link to a host's file is an error, not a leak. Only regular files, only up to a size.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import PurePosixPath

SYS_OPENAT2 = 437
RESOLVE = 0x02 | 0x04 | 0x08  # NO_MAGICLINKS | NO_SYMLINKS | BENEATH
_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(folder: int, path: str, flags: int, mode: int = 0) -> int:
    """A descriptor of ``path`` under the folder descriptor. Raises OSError (ELOOP: a link, EXDEV: outside)."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, RESOLVE)
    fd = _libc.syscall(SYS_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return fd


def put_file(folder: int, path: str, data: bytes) -> None:
    """Writes a file, making the folders above it. Raises ValueError for a path that leaves the workspace."""
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise ValueError(f"files: {path!r} is not a path inside the workspace; use a relative one without '..'")
    owner = os.fstat(folder)
    for depth in range(1, len(parts)):
        _make_folder(folder, parts[:depth], owner)
    fd = open_beneath(folder, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o644)
    with os.fdopen(fd, "wb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"files: {path!r} is not a regular file")
        file.write(data)
        os.fchown(fd, owner.st_uid, owner.st_gid)


def get_file(folder: int, path: str, limit_bytes: int) -> bytes:
    """Reads a regular file. Raises ValueError when it is none or larger than ``limit_bytes``, OSError else."""
    fd = open_beneath(folder, path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"files: {path!r} is not a regular file")
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ValueError(f"files: {path!r} is larger than {limit_bytes} bytes")
    return data


def _make_folder(folder: int, parts: tuple[str, ...], owner: os.stat_result) -> None:
    above = open_beneath(folder, "/".join(parts[:-1]) or ".", os.O_PATH | os.O_DIRECTORY)
    try:
        os.mkdir(parts[-1], 0o755, dir_fd=above)
        os.chown(parts[-1], owner.st_uid, owner.st_gid, dir_fd=above, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    finally:
        os.close(above)
