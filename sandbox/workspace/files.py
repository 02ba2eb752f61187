"""Reads and writes files of a workspace without following links that a cell left there.

Contract: paths are relative to the workspace. Every step goes through ``openat2`` with RESOLVE_BENEATH, no symlinks and
no magic links, so a link to a file of the host is an error. Only regular files, only up to a size.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import PurePosixPath

BRANCHES = ".branches"
"""The folder of a workspace that holds the workspaces of forks."""
SYS_OPENAT2 = 437
RESOLVE = 0x02 | 0x04 | 0x08  # NO_MAGICLINKS | NO_SYMLINKS | BENEATH
_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(folder: int, path: str, flags: int, mode: int = 0) -> int:
    """Opens ``path`` below a folder descriptor. Raises OSError (ELOOP: a link, EXDEV: outside)."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, RESOLVE)
    fd = _libc.syscall(SYS_OPENAT2, folder, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return fd


def put_file(folder: int, path: str, data: bytes, limit_bytes: int) -> None:
    """Writes a file atomically and creates the folders above it; an existing file keeps its mode.

    Raises ValueError for a path that leaves the workspace, leads over a link or a file or is not a regular file, and
    for data larger than ``limit_bytes``, OSError for errors of the file system.
    """
    parts = _relative_parts(path)
    if len(data) > limit_bytes:
        raise ValueError(f"files: {path!r} has {len(data)} bytes, more than the workspace ({limit_bytes})")
    owner = os.fstat(folder)
    try:
        for depth in range(1, len(parts)):
            _make_folder(folder, parts[:depth], owner)
        above = _open_parent(folder, parts)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise ValueError(f"files: {path!r} leads over a link or a file; its parents must be folders") from None
        raise
    try:
        _replace(above, parts[-1], data, _file_mode(above, path, parts[-1]), owner)
    finally:
        os.close(above)


def get_file(folder: int, path: str, limit_bytes: int) -> bytes:
    """Reads a regular file.

    Raises ValueError for a path that leaves the workspace or leads over a link, and for anything larger than
    ``limit_bytes`` or not a regular file, OSError for other errors.
    """
    try:
        fd = open_beneath(folder, "/".join(_relative_parts(path)), os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"files: {path!r} is or leads over a link; links are never followed") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError(f"files: {path!r} is not a regular file")
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(limit_bytes + 1)
    finally:
        os.close(fd)
    if len(data) > limit_bytes:
        raise ValueError(f"files: {path!r} is larger than {limit_bytes} bytes")
    return data


def _relative_parts(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise ValueError(f"files: {path!r} is not a path inside the workspace; use a relative one without '..' or NUL")
    return parts


def _replace(above: int, name: str, data: bytes, mode: int, owner: os.stat_result) -> None:
    """Writes to a temporary name and renames it: on a full disk the old file is unchanged."""
    temporary = f".put-{secrets.token_hex(8)}"
    fd = open_beneath(above, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            os.fchown(fd, owner.st_uid, owner.st_gid)
            os.fchmod(fd, mode)
        os.rename(temporary, name, src_dir_fd=above, dst_dir_fd=above)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=above)
        raise


def _open_parent(folder: int, parts: tuple[str, ...]) -> int:
    return open_beneath(folder, "/".join(parts[:-1]) or ".", os.O_PATH | os.O_DIRECTORY)


def _file_mode(above: int, path: str, name: str) -> int:
    """The mode of the existing file, or of a new one."""
    try:
        seen = os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        return 0o644
    if not stat.S_ISREG(seen.st_mode):
        raise ValueError(f"files: {path!r} is not a regular file")
    return stat.S_IMODE(seen.st_mode) & 0o777


def _make_folder(folder: int, parts: tuple[str, ...], owner: os.stat_result) -> None:
    above = _open_parent(folder, parts)
    try:
        os.mkdir(parts[-1], 0o755, dir_fd=above)
        os.chown(parts[-1], owner.st_uid, owner.st_gid, dir_fd=above, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    finally:
        os.close(above)
