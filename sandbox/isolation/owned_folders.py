"""Temporary folders whose names say which process owns them, so that those of dead owners can be removed.

Contract: a name is ``codeact-KIND-PID-START-PLACE-RANDOM``; PID and START (ticks since boot) identify the owner for as
long as the machine runs, PLACE is a digest of the machine's boot and of the pid namespace, in which PID means
something. :func:`remove_abandoned` removes only folders of this form, of this user, of this boot and pid namespace,
whose owner has ended. Where a supervisor is at hand it removes them at the owner's death; otherwise the next process
that makes one does. Costs a listing of the folder above.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox.isolation.spawn import explain_temp_errors
from sandbox.workspace.walk import remove_tree

_TAG = r"(?P<pid>[0-9]+)-(?P<start>[0-9a-f]+)-(?P<place>[0-9a-f]{8})"
_NAME = re.compile(rf"codeact-[a-z]+-{_TAG}-[0-9a-f]{{8}}")
_START_FIELD = 21 - 2
"""Index of the start time among the fields of ``/proc/PID/stat`` that follow the command's name."""
_of_process: dict[tuple[int, str], str] = {}


def owner_tag() -> str:
    """Identifies this process: process id, start time, machine and pid namespace."""
    return f"{os.getpid()}-{_start_of(os.getpid()):x}-{_place()}"


def owned_name(kind: str) -> str:
    """A new name for a folder of this process; ``kind``: lower-case letters."""
    return f"codeact-{kind}-{owner_tag()}-{secrets.token_hex(4)}"


@contextmanager
def temporary_folder(kind: str) -> Iterator[str]:
    """A folder among the temporary files, removed at the end of the block. Raises :class:`sandbox.SandboxError`."""
    remove_abandoned()
    folder = Path(tempfile.gettempdir(), owned_name(kind))
    with explain_temp_errors():
        folder.mkdir(mode=0o700)
    try:
        yield str(folder)
    finally:
        remove_tree(folder)


def process_folder(kind: str) -> str:
    """One folder for the life of this process, made at the first call. Raises :class:`sandbox.SandboxError`."""
    key = (os.getpid(), kind)  # a forked child has its own
    if key not in _of_process:
        remove_abandoned()
        folder = Path(tempfile.gettempdir(), owned_name(kind))
        with explain_temp_errors():
            folder.mkdir(mode=0o700)
        _of_process[key] = str(folder)
        atexit.register(_remove_own, *key)
    return _of_process[key]


def process_folders() -> list[str]:
    """The folders :func:`process_folder` has made for this process."""
    return [folder for (pid, _), folder in _of_process.items() if pid == os.getpid()]


def remove_abandoned(parent: str | Path | None = None) -> None:
    """Removes the folders of dead owners; ``parent``: by default where temporary files are."""
    parent = tempfile.gettempdir() if parent is None else parent
    with suppress(OSError):
        for name in os.listdir(parent):  # noqa: PTH208
            found = _NAME.fullmatch(name)
            if found and is_abandoned(found) and _is_own_folder(path := Path(parent, name)):
                remove_tree(path)


def is_abandoned(found: re.Match[str]) -> bool:
    """Whether the process of a matched tag has ended. False for tags of another machine, boot or pid namespace."""
    return found["place"] == _place() and _start_of(int(found["pid"])) != int(found["start"], 16)


def tag_of(name: str, prefix: str) -> re.Match[str] | None:
    """The tag in a name of the form ``PREFIX-TAG-…``."""
    return re.compile(rf"{re.escape(prefix)}-{_TAG}-.*").fullmatch(name)


def _is_own_folder(path: Path) -> bool:
    with suppress(OSError):
        seen = path.lstat()
        return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid()
    return False


def _remove_own(pid: int, kind: str) -> None:
    if os.getpid() == pid and (folder := _of_process.pop((pid, kind), None)) is not None:
        remove_tree(folder)


def _start_of(pid: int) -> int:
    """When a process started, in ticks since boot; -1 when there is none."""
    try:
        fields = Path("/proc", str(pid), "stat").read_bytes().rpartition(b") ")[2].split()
        return -1 if fields[0] in (b"Z", b"X") else int(fields[_START_FIELD])
    except (OSError, IndexError, ValueError):
        return -1


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    return hashlib.blake2s(boot + str(os.stat("/proc/self/ns/pid").st_ino).encode(), digest_size=4).hexdigest()  # noqa: PTH116
