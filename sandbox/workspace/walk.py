"""Walks and removes folder trees made by a cell, without following links and without recursion.

Contract: a cell can nest folders deeper than Python's stack, on which the standard library fails.
:func:`walk_beneath` costs a ``stat`` per entry, :func:`remove_tree` a rename and an unlink.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

from sandbox.workspace.files import open_beneath

SKIPPED = (errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENOTDIR, errno.ELOOP)
ALL_RIGHTS = 0o700


def walk_beneath(folder: int, exclude: str = "", deadline: float = inf) -> Iterator[tuple[str, os.stat_result]]:
    """Path and status of everything below a folder descriptor except ``exclude``; folders before their contents.

    Unreadable folders of the same owner are made accessible, because their contents count. Entries that vanish, that
    others closed or that are mount points are skipped. Raises OSError (ENAMETOOLONG) for a path of more than 4,095
    bytes, TimeoutError as :func:`check_deadline` does.
    """
    stack, device = [""], os.fstat(folder).st_dev
    while stack:
        check_deadline(deadline)
        above = stack.pop()
        try:
            fd = _open_folder(folder, above or ".")
        except OSError as error:
            if error.errno in SKIPPED:
                continue
            raise
        with closing(fd), os.scandir(fd) as entries:
            for entry in entries:
                check_deadline(deadline)
                path = f"{above}/{entry.name}" if above else entry.name
                if path == exclude:
                    continue
                with suppress(FileNotFoundError):
                    seen = entry.stat(follow_symlinks=False)
                    if seen.st_dev == device:
                        yield path, seen
                        if stat.S_ISDIR(seen.st_mode):
                            stack.append(path)


def remove_tree(top: str | Path) -> None:
    """Removes a folder and everything below it; keeps what cannot be removed and raises nothing.

    Moves the contents of each folder to the top before it removes the folder, so that paths stay short.
    """
    numbers = itertools.count()
    with suppress(OSError):
        for name in (names := os.listdir(top)):  # noqa: PTH208
            path = os.path.join(top, name)  # noqa: PTH118
            with suppress(OSError):
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    os.unlink(path)  # noqa: PTH108
                    continue
                _make_accessible(path)
                for inner in os.listdir(path):  # noqa: PTH208
                    moved, inside = f".removed-{next(numbers)}", os.path.join(path, inner)  # noqa: PTH118
                    _make_accessible(inside)  # a folder must be writable to be moved
                    os.rename(inside, os.path.join(top, moved))  # noqa: PTH104, PTH118
                    names.append(moved)
                os.rmdir(path)  # noqa: PTH106
        os.rmdir(top)  # noqa: PTH106


def check_deadline(deadline: float) -> None:
    """Raises TimeoutError after ``deadline``, a value of ``time.monotonic``."""
    if time.monotonic() > deadline:
        raise TimeoutError("there are too many files for the time limit")


def _open_folder(folder: int, path: str) -> int:
    try:
        return open_beneath(folder, path, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        with closing(fd := open_beneath(folder, path, os.O_PATH | os.O_DIRECTORY)):
            os.chmod(f"/proc/self/fd/{fd}", ALL_RIGHTS)  # noqa: PTH101
        return open_beneath(folder, path, os.O_RDONLY | os.O_DIRECTORY)


def _make_accessible(path: str) -> None:
    """Adds the owner's rights to a folder; leaves anything else unchanged."""
    seen = os.lstat(path)
    if stat.S_ISDIR(seen.st_mode) and seen.st_mode & ALL_RIGHTS != ALL_RIGHTS:
        with closing(fd := os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)):
            os.chmod(f"/proc/self/fd/{fd}", ALL_RIGHTS)  # noqa: PTH101


@contextmanager
def closing(fd: int) -> Iterator[None]:
    """Closes a descriptor at the end of the block."""
    try:
        yield
    finally:
        os.close(fd)
