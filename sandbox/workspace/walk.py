"""Folder trees that a cell made: walked and removed without following links, however deep.

Contract: the standard library recurses, and a cell can nest folders deeper than Python's stack; nothing here does.
:func:`walk_beneath` costs a ``stat`` an entry, :func:`remove_tree` a rename and an unlink.
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

PASSED_OVER = (errno.ENOENT, errno.EPERM, errno.EACCES, errno.ENOTDIR, errno.ELOOP)
ALL_RIGHTS = 0o700


def walk_beneath(folder: int, leave_out: str = "", until: float = inf) -> Iterator[tuple[str, os.stat_result]]:
    """Path and status of all below a folder descriptor but ``leave_out``, folders before what is in them.

    A folder of our own that may not be listed is made accessible first, as what hides in it counts. What vanishes
    meanwhile, is closed by others or is mounted there is passed over. Raises OSError (ENAMETOOLONG) for a path of more
    than 4,095 bytes, TimeoutError as :func:`check_time` does.
    """
    open_ends, device = [""], os.fstat(folder).st_dev
    while open_ends:
        check_time(until)
        above = open_ends.pop()
        try:
            fd = _open_folder(folder, above or ".")
        except OSError as error:
            if error.errno in PASSED_OVER:
                continue
            raise
        with closing(fd), os.scandir(fd) as entries:
            for entry in entries:
                check_time(until)
                path = f"{above}/{entry.name}" if above else entry.name
                if path == leave_out:
                    continue
                with suppress(FileNotFoundError):
                    seen = entry.stat(follow_symlinks=False)
                    if seen.st_dev == device:
                        yield path, seen
                        if stat.S_ISDIR(seen.st_mode):
                            open_ends.append(path)


def remove_tree(top: str | Path) -> None:
    """Removes a folder and all below it; what cannot be removed stays, nothing is raised.

    Brings each folder's content up to the top before it removes it, so that no path ever grows long.
    """
    numbers = itertools.count()
    with suppress(OSError):
        for name in (names := os.listdir(top)):  # noqa: PTH208
            place = os.path.join(top, name)  # noqa: PTH118
            with suppress(OSError):
                if not stat.S_ISDIR(os.lstat(place).st_mode):
                    os.unlink(place)  # noqa: PTH108
                    continue
                _unlock(place)
                for inner in os.listdir(place):  # noqa: PTH208
                    moved, inside = f".removed-{next(numbers)}", os.path.join(place, inner)  # noqa: PTH118
                    _unlock(inside)  # to be moved a folder must be writable, too
                    os.rename(inside, os.path.join(top, moved))  # noqa: PTH104, PTH118
                    names.append(moved)
                os.rmdir(place)  # noqa: PTH106
        os.rmdir(top)  # noqa: PTH106


def check_time(until: float) -> None:
    """Raises TimeoutError when it is later than that, as ``monotonic`` counts."""
    if time.monotonic() > until:
        raise TimeoutError("there are more files than there is time for")


def _open_folder(folder: int, path: str) -> int:
    try:
        return open_beneath(folder, path, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        with closing(fd := open_beneath(folder, path, os.O_PATH | os.O_DIRECTORY)):
            os.chmod(f"/proc/self/fd/{fd}", ALL_RIGHTS)  # noqa: PTH101
        return open_beneath(folder, path, os.O_RDONLY | os.O_DIRECTORY)


def _unlock(place: str) -> None:
    """Gives us all rights in a folder whose owner we are; what is none or has them stays as it is."""
    seen = os.lstat(place)
    if stat.S_ISDIR(seen.st_mode) and seen.st_mode & ALL_RIGHTS != ALL_RIGHTS:
        with closing(fd := os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)):
            os.chmod(f"/proc/self/fd/{fd}", ALL_RIGHTS)  # noqa: PTH101


@contextmanager
def closing(fd: int) -> Iterator[None]:
    """Closes a descriptor at the end."""
    try:
        yield
    finally:
        os.close(fd)
