"""A copy of a workspace on the host, and the way back to it.

Contract: :meth:`Mirror.update` copies what changed since the last time, :meth:`Mirror.restore` makes the workspace what
it was at the last update: files with their content, mode and time, folders, symbolic links. Hard links become files of
their own, sockets and pipes are not kept. The copy lies on the host's disk, out of reach of every cell; links are never
followed. Where modes keep out their owner, whom the host is without privileges, they are others for a moment. Costs one
``stat`` an entry and the copy of what changed.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from sandbox.workspace.files import BRANCHES, open_beneath
from sandbox.workspace.walk import check_time, closing, walk_beneath

RACY_NS = 50_000_000
"""A file changed this short before it was looked at may change again without a new time stamp (ticks last 1-10 ms)."""
MIB = 1 << 20
TO_READ, TO_CHANGE = 0o500, 0o700
"""Rights to a folder."""


@dataclass(frozen=True)
class _Kept:
    mode: int
    changed: tuple[int, ...] | None
    """Differs when the file was touched in any way since; None when that cannot be told."""
    modified_ns: int
    content: str
    """Of a link where it leads, of a file the name of its copy."""


class Mirror:
    """The copy of one workspace, whose descriptor its methods are given."""

    def __init__(self, folder: Path, limit_mib: int, limit_inodes: int) -> None:
        """``folder``: for the copy, made when there is something to keep; the limits are the workspace's own."""
        self._folder = folder
        self._limit_bytes, self._limit_inodes = limit_mib * MIB, limit_inodes
        self._kept: dict[str, _Kept] = {}
        self._copies: set[str] = set()
        """Files in the folder."""
        self._count = 0
        self._lock = threading.Lock()

    def update(self, workspace: int, until: float) -> None:
        """Keeps the workspace as it is now; a file that is begun in time, as ``monotonic`` counts, is copied whole.

        Raises OSError when a file cannot be read or kept, when there is too much or the time is up; what it kept until
        then need not be copied the next time.
        """
        found: dict[str, _Kept] = {}
        closed: dict[str, int] = {}
        with self._lock:
            try:
                found.update(self._look(workspace, closed, until))
            finally:
                self._kept = found
                for path in reversed(closed):  # what lies in a folder before the folder
                    with suppress(OSError):
                        _set_mode(workspace, path, closed[path])
                for name in self._copies - {kept.content for kept in self._kept.values()}:
                    (self._folder / name).unlink(missing_ok=True)
                    self._copies.discard(name)

    def restore(self, workspace: int, until: float) -> None:
        """Puts the workspace back. Raises OSError when that fails or takes too long; it is then anything between."""
        with self._lock:
            seen = dict(_walk(workspace, TO_CHANGE, {}, until))
            for path in sorted(seen, key=len, reverse=True):  # what lies in a folder before the folder
                check_time(until)
                kept = self._kept.get(path)
                if kept is None or stat.S_IFMT(kept.mode) != stat.S_IFMT(seen[path].st_mode):
                    _remove(workspace, path, seen.pop(path))
            folders = []
            for path in sorted(self._kept, key=len):
                check_time(until)
                self._put_back(workspace, path, self._kept[path], seen.get(path))
                if stat.S_ISDIR(self._kept[path].mode):
                    folders.append(path)
            for path in reversed(folders):
                with closing(fd := open_beneath(workspace, path or ".", os.O_RDONLY | os.O_DIRECTORY)):
                    _dress(workspace, fd, self._kept[path])

    def close(self) -> None:
        """Removes the copy."""
        with self._lock:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _look(self, workspace: int, closed: dict[str, int], until: float) -> Iterator[tuple[str, _Kept]]:
        """What there is now, the workspace itself included, with a copy of what has changed."""
        size = 0
        for count, (path, seen) in enumerate(_walk(workspace, TO_READ, closed, until)):
            size += seen.st_size if stat.S_ISREG(seen.st_mode) else 0
            if count > self._limit_inodes or size > self._limit_bytes:
                raise OSError(f"the files are more than {self._limit_bytes // MIB} MiB or {self._limit_inodes}")
            kept = self._kept.get(path)
            changed = _changed(seen)
            if kept is None or changed is None or kept.changed != changed:
                kept = self._keep(workspace, path, seen, kept)
            if kept is not None:
                yield path, kept

    def _keep(self, workspace: int, path: str, seen: os.stat_result, before: _Kept | None) -> _Kept | None:
        content = ""
        if stat.S_ISLNK(seen.st_mode):
            content = _read_link(workspace, path)
        elif stat.S_ISREG(seen.st_mode):
            if before is not None and _is_file(before):
                content = before.content
            else:
                self._count += 1
                content = str(self._count)
                self._copies.add(content)
            self._copy(workspace, path, content, seen.st_size)
        elif not stat.S_ISDIR(seen.st_mode):
            return None
        return _Kept(seen.st_mode, _changed(seen), seen.st_mtime_ns, content)

    def _copy(self, workspace: int, path: str, name: str, size: int) -> None:
        """Copies ``size`` bytes, however the file grows meanwhile: what is kept in all stays within the limit."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        source = _open(workspace, path, os.O_RDONLY | os.O_NONBLOCK)
        with closing(source), (self._folder / name).open("wb") as target:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise OSError(f"{path!r} is no file any longer")
            while size > 0 and (data := os.read(source, min(size, MIB))):
                target.write(data)
                size -= len(data)

    def _put_back(self, workspace: int, path: str, kept: _Kept, seen: os.stat_result | None) -> None:
        if seen is not None and kept.changed is not None and kept.changed == _changed(seen):
            return
        if stat.S_ISDIR(kept.mode) and seen is not None:
            return
        parent, name = _parent(workspace, path)
        with closing(parent):
            if stat.S_ISLNK(kept.mode):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=parent)
                os.symlink(kept.content, name, dir_fd=parent)
                owner = os.fstat(workspace)
                os.chown(name, owner.st_uid, owner.st_gid, dir_fd=parent, follow_symlinks=False)
            elif stat.S_ISDIR(kept.mode):
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=parent)
            else:
                with closing(fd := _open_file(parent, name)):
                    self._fill(fd, kept.content)
                    _dress(workspace, fd, kept)

    def _fill(self, fd: int, name: str) -> None:
        with (self._folder / name).open("rb") as source, os.fdopen(os.dup(fd), "wb") as target:
            target.truncate()
            shutil.copyfileobj(source, target, MIB)


def _walk(workspace: int, rights: int, closed: dict[str, int], until: float) -> Iterator[tuple[str, os.stat_result]]:
    """All there is, first the workspace itself with an empty path.

    Folders to which their owner has not the ``rights`` get them; ``closed`` says what their modes were.
    """
    for path, seen in chain([("", os.fstat(workspace))], walk_beneath(workspace, BRANCHES, until)):
        if stat.S_ISDIR(seen.st_mode) and seen.st_mode & rights != rights:
            closed[path] = stat.S_IMODE(seen.st_mode)
            _set_mode(workspace, path, closed[path] | rights)
        yield path, seen


def _set_mode(folder: int, path: str, mode: int) -> None:
    with closing(fd := open_beneath(folder, path, os.O_PATH) if path else os.dup(folder)):
        os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101


def _dress(workspace: int, fd: int, kept: _Kept) -> None:
    """Owner, mode and time; of a folder when all is in it."""
    owner = os.fstat(workspace)
    os.fchown(fd, owner.st_uid, owner.st_gid)
    os.fchmod(fd, stat.S_IMODE(kept.mode) & 0o777)
    os.utime(fd, ns=(kept.modified_ns, kept.modified_ns))


def _open(folder: int, path: str, flags: int, mode: int = 0) -> int:
    """Also what its mode keeps from its owner."""
    try:
        return open_beneath(folder, path, flags, mode)
    except PermissionError:
        with closing(fd := open_beneath(folder, path, os.O_PATH)):
            closed = stat.S_IMODE(os.fstat(fd).st_mode)
        _set_mode(folder, path, closed | 0o600)
        try:
            return open_beneath(folder, path, flags, mode)
        finally:
            _set_mode(folder, path, closed)


def _open_file(parent: int, name: str) -> int:
    """For writing in place, so that a file the kernel has open stays the same; one with other names is made anew."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK
    fd = _open(parent, name, flags, 0o600)
    if os.fstat(fd).st_nlink == 1:
        return fd
    os.close(fd)
    os.unlink(name, dir_fd=parent)
    return open_beneath(parent, name, flags | os.O_EXCL, 0o600)


def _changed(seen: os.stat_result) -> tuple[int, ...] | None:
    if stat.S_ISDIR(seen.st_mode) or time.time_ns() - seen.st_ctime_ns < RACY_NS:
        return None
    return (seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)


def _is_file(kept: _Kept) -> bool:
    return stat.S_ISREG(kept.mode)


def _parent(workspace: int, path: str) -> tuple[int, str]:
    above, _, name = path.rpartition("/")
    return open_beneath(workspace, above or ".", os.O_PATH | os.O_DIRECTORY), name


def _read_link(workspace: int, path: str) -> str:
    parent, name = _parent(workspace, path)
    with closing(parent):
        return os.readlink(name, dir_fd=parent)


def _remove(workspace: int, path: str, seen: os.stat_result) -> None:
    parent, name = _parent(workspace, path)
    with closing(parent):
        if stat.S_ISDIR(seen.st_mode):
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
