"""A copy of a workspace on the host, from which the workspace can be restored.

Contract: :meth:`WorkspaceSnapshot.update` copies what changed since the last update,
:meth:`WorkspaceSnapshot.restore` puts the workspace back to that state: files with content, mode and time, folders,
symbolic links. Hard links become separate files, sockets and pipes are not kept. The copy is on the host's disk, out of
reach of every cell; links are never followed. Unreadable files are chmod-ed temporarily when not running as root. Costs
one ``stat`` per entry and the copies of changed files.
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
from sandbox.workspace.walk import check_deadline, closing, walk_beneath

RACY_NS = 50_000_000
"""A file changed this recently may change again without a new time stamp (ticks last 1-10 ms)."""
MIB = 1 << 20
TO_READ, TO_CHANGE = 0o500, 0o700
"""Rights to a folder."""


@dataclass(frozen=True)
class _Entry:
    mode: int
    stamp: tuple[int, ...] | None
    """Differs after any change of the file; None when a change might go unseen."""
    modified_ns: int
    content: str
    """The target of a link, the name of a file's copy."""


class WorkspaceSnapshot:
    """The copy of one workspace. Its methods take a descriptor of the workspace."""

    def __init__(self, folder: Path, limit_mib: int, limit_inodes: int) -> None:
        """``folder``: holds the copy, created when needed; the limits are those of the workspace."""
        self._folder = folder
        self._limit_bytes, self._limit_inodes = limit_mib * MIB, limit_inodes
        self._entries: dict[str, _Entry] = {}
        self._copies: set[str] = set()
        """Names of the files in ``folder``."""
        self._count = 0
        self._lock = threading.Lock()

    def update(self, workspace: int, deadline: float) -> None:
        """Copies what has changed. A file begun before ``deadline`` (of ``time.monotonic``) is copied whole.

        Raises OSError when a file cannot be read or copied, when the files exceed the limits or the time is up; the
        next update continues from there.
        """
        entries: dict[str, _Entry] = {}
        changed_modes: dict[str, int] = {}
        with self._lock:
            try:
                entries.update(self._scan(workspace, changed_modes, deadline))
            finally:
                self._entries = entries
                for path in reversed(changed_modes):  # contents before their folder
                    with suppress(OSError):
                        _set_mode(workspace, path, changed_modes[path])
                for name in self._copies - {entry.content for entry in self._entries.values()}:
                    (self._folder / name).unlink(missing_ok=True)
                    self._copies.discard(name)

    def restore(self, workspace: int, deadline: float) -> None:
        """Restores the workspace. Raises OSError, after which the workspace may be partly restored."""
        with self._lock:
            seen = dict(_walk(workspace, TO_CHANGE, {}, deadline))
            for path in sorted(seen, key=len, reverse=True):  # contents before their folder
                check_deadline(deadline)
                entry = self._entries.get(path)
                if entry is None or stat.S_IFMT(entry.mode) != stat.S_IFMT(seen[path].st_mode):
                    _remove(workspace, path, seen.pop(path))
            folders = []
            for path in sorted(self._entries, key=len):
                check_deadline(deadline)
                self._restore_entry(workspace, path, self._entries[path], seen.get(path))
                if stat.S_ISDIR(self._entries[path].mode):
                    folders.append(path)
            for path in reversed(folders):
                with closing(fd := open_beneath(workspace, path or ".", os.O_RDONLY | os.O_DIRECTORY)):
                    _set_attributes(workspace, fd, self._entries[path])

    def close(self) -> None:
        """Removes the copy."""
        with self._lock:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _scan(self, workspace: int, changed_modes: dict[str, int], deadline: float) -> Iterator[tuple[str, _Entry]]:
        """Every path of the workspace, itself included, with an entry; copies the files that have changed."""
        size = 0
        for count, (path, seen) in enumerate(_walk(workspace, TO_READ, changed_modes, deadline)):
            size += seen.st_size if stat.S_ISREG(seen.st_mode) else 0
            if count > self._limit_inodes or size > self._limit_bytes:
                raise OSError(f"the files are more than {self._limit_bytes // MIB} MiB or {self._limit_inodes}")
            entry = self._entries.get(path)
            stamp = _stamp(seen)
            if entry is None or stamp is None or entry.stamp != stamp:
                entry = self._make_entry(workspace, path, seen, entry)
            if entry is not None:
                yield path, entry

    def _make_entry(self, workspace: int, path: str, seen: os.stat_result, before: _Entry | None) -> _Entry | None:
        content = ""
        if stat.S_ISLNK(seen.st_mode):
            content = _read_link(workspace, path)
        elif stat.S_ISREG(seen.st_mode):
            if before is not None and stat.S_ISREG(before.mode):
                content = before.content
            else:
                self._count += 1
                content = str(self._count)
                self._copies.add(content)
            self._copy(workspace, path, content, seen.st_size)
        elif not stat.S_ISDIR(seen.st_mode):
            return None
        return _Entry(seen.st_mode, _stamp(seen), seen.st_mtime_ns, content)

    def _copy(self, workspace: int, path: str, name: str, size: int) -> None:
        """Copies at most ``size`` bytes: a file that grows during the copy must not exceed the limit."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        source = _open(workspace, path, os.O_RDONLY | os.O_NONBLOCK)
        with closing(source), (self._folder / name).open("wb") as target:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                raise OSError(f"{path!r} is not a file any longer")
            while size > 0 and (data := os.read(source, min(size, MIB))):
                target.write(data)
                size -= len(data)

    def _restore_entry(self, workspace: int, path: str, entry: _Entry, seen: os.stat_result | None) -> None:
        if seen is not None and entry.stamp is not None and entry.stamp == _stamp(seen):
            return
        if stat.S_ISDIR(entry.mode) and seen is not None:
            return
        parent, name = _open_parent(workspace, path)
        with closing(parent):
            if stat.S_ISLNK(entry.mode):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=parent)
                os.symlink(entry.content, name, dir_fd=parent)
                owner = os.fstat(workspace)
                os.chown(name, owner.st_uid, owner.st_gid, dir_fd=parent, follow_symlinks=False)
            elif stat.S_ISDIR(entry.mode):
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=parent)
            else:
                with closing(fd := _open_for_writing(parent, name)):
                    self._fill(fd, entry.content)
                    _set_attributes(workspace, fd, entry)

    def _fill(self, fd: int, name: str) -> None:
        with (self._folder / name).open("rb") as source, os.fdopen(os.dup(fd), "wb") as target:
            target.truncate()
            shutil.copyfileobj(source, target, MIB)


def _walk(
    workspace: int, rights: int, changed_modes: dict[str, int], deadline: float
) -> Iterator[tuple[str, os.stat_result]]:
    """Everything in the workspace, after the workspace itself under an empty path.

    Folders whose owner does not have ``rights`` get them; ``changed_modes`` receives their previous modes.
    """
    for path, seen in chain([("", os.fstat(workspace))], walk_beneath(workspace, BRANCHES, deadline)):
        if stat.S_ISDIR(seen.st_mode) and seen.st_mode & rights != rights:
            changed_modes[path] = stat.S_IMODE(seen.st_mode)
            _set_mode(workspace, path, changed_modes[path] | rights)
        yield path, seen


def _set_mode(folder: int, path: str, mode: int) -> None:
    with closing(fd := open_beneath(folder, path, os.O_PATH) if path else os.dup(folder)):
        os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101


def _set_attributes(workspace: int, fd: int, entry: _Entry) -> None:
    """Sets owner, mode and time; call it for a folder after its contents are restored."""
    owner = os.fstat(workspace)
    os.fchown(fd, owner.st_uid, owner.st_gid)
    os.fchmod(fd, stat.S_IMODE(entry.mode) & 0o777)
    os.utime(fd, ns=(entry.modified_ns, entry.modified_ns))


def _open(folder: int, path: str, flags: int, mode: int = 0) -> int:
    """Opens a file, with its mode changed for the moment if it denies access."""
    try:
        return open_beneath(folder, path, flags, mode)
    except PermissionError:
        with closing(fd := open_beneath(folder, path, os.O_PATH)):
            before = stat.S_IMODE(os.fstat(fd).st_mode)
        _set_mode(folder, path, before | 0o600)
        try:
            return open_beneath(folder, path, flags, mode)
        finally:
            _set_mode(folder, path, before)


def _open_for_writing(parent: int, name: str) -> int:
    """Opens a file in place, so that descriptors of the kernel stay valid; replaces one that has other hard links."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK
    fd = _open(parent, name, flags, 0o600)
    if os.fstat(fd).st_nlink == 1:
        return fd
    os.close(fd)
    os.unlink(name, dir_fd=parent)
    return open_beneath(parent, name, flags | os.O_EXCL, 0o600)


def _stamp(seen: os.stat_result) -> tuple[int, ...] | None:
    if stat.S_ISDIR(seen.st_mode) or time.time_ns() - seen.st_ctime_ns < RACY_NS:
        return None
    return (seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)


def _open_parent(workspace: int, path: str) -> tuple[int, str]:
    parent, _, name = path.rpartition("/")
    return open_beneath(workspace, parent or ".", os.O_PATH | os.O_DIRECTORY), name


def _read_link(workspace: int, path: str) -> str:
    parent, name = _open_parent(workspace, path)
    with closing(parent):
        return os.readlink(name, dir_fd=parent)


def _remove(workspace: int, path: str, seen: os.stat_result) -> None:
    parent, name = _open_parent(workspace, path)
    with closing(parent):
        if stat.S_ISDIR(seen.st_mode):
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
