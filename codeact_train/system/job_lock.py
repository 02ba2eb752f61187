"""One job at a time writes a folder.

Contract: :func:`hold_folder` locks the file ``.codeact`` of a folder with ``flock`` and writes into it who holds it:
host, process, start, command, SLURM job. The kernel gives the lock up with the process, however it ends, and on NFS
with its machine; a second job is refused with the holder's name. On a file system without locks (``flock`` fails with
``ENOLCK``, ``ENOSYS`` or ``EOPNOTSUPP``) the written holder counts: one on this machine while its process lives, one on
another machine until it has ended or a job with the same SLURM id takes over. A job of several machines holds the
folder together (``shared``). Standard library only; Linux.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from codeact_train.system.folders import MARK, read_object

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_POLL_S = 0.1


@dataclass(frozen=True)
class Holder:
    """A job that holds a folder. ``ticks``: when its process started, in the kernel's clock ticks since boot, which
    distinguishes it from a later process with the same number."""

    host: str
    pid: int
    ticks: int | None
    since: str
    command: str
    slurm_job: str | None

    @classmethod
    def this_process(cls) -> Holder:
        """The running process."""
        command = shlex.join([_program(Path(sys.argv[0])), *sys.argv[1:]])
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        slurm_job = os.environ.get("SLURM_JOB_ID")
        return cls(socket.gethostname(), os.getpid(), _start_ticks(os.getpid()), since, command, slurm_job)

    def __str__(self) -> str:
        job = f", SLURM job {self.slurm_job}" if self.slurm_job else ""
        return f"process {self.pid} on {self.host}{job}, since {self.since} ({self.command})"

    def is_alive(self) -> bool:
        """Whether the job may still run, as far as this machine can see."""
        if self.host == socket.gethostname():
            return _start_ticks(self.pid) == self.ticks is not None
        return self.slurm_job is None or self.slurm_job != os.environ.get("SLURM_JOB_ID")


@contextmanager
def hold_folder(folder: Path, key: str, kind: str, *, shared: bool = False, wait_s: float = 0.0) -> Iterator[None]:
    """Hold ``folder`` within the block; it is created if it is missing, and removed again if nothing was put into it.

    Args:
        folder: the folder to hold.
        key: the setting that names the folder, for messages.
        kind: what the folder is; it is written into ``.codeact``.
        shared: hold it together with other jobs that say so.
        wait_s: how long to wait for a holder to end.

    Raises:
        ValueError: another job holds the folder.
    """
    path = folder / MARK
    if (other := read_object(path).get("kind", kind)) != kind:
        raise ValueError(f"{key}={folder}: this is a folder of kind {other!r}, not {kind!r}; give another")
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file = _locked(path, key, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, time.monotonic() + wait_s)
    try:
        _write(file, kind, Holder.this_process())
        yield
    finally:
        with suppress(OSError):  # the disk is full, or the user has removed the folder
            _write(file, kind, None)
            if not shared and list(folder.iterdir()) == [path]:  # refused before it wrote anything
                path.unlink()
                for parent in made:
                    parent.rmdir()
        file.close()


def holder_of(folder: Path) -> Holder | None:
    """The job that is written down as the holder of ``folder``; it may have been killed."""
    written = read_object(folder / MARK).get("holder")
    try:
        return Holder(**written) if written else None
    except TypeError:  # of another version
        return None


def _locked(path: Path, key: str, how: int, deadline: float) -> TextIO:
    """The open, locked file."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            held = _try_lock(file, how, path)
            if held and path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        if not held:
            if time.monotonic() >= deadline:
                raise ValueError(_refusal(path.parent, key))
            time.sleep(_POLL_S)


def _try_lock(file: TextIO, how: int, path: Path) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            holder = holder_of(path.parent)
            return how == fcntl.LOCK_SH or holder is None or not holder.is_alive()
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _refusal(folder: Path, key: str) -> str:
    holder = holder_of(folder)
    if holder is None:
        return f"{key}={folder}: another job is using this folder; wait for it, or give another folder"
    elsewhere = "" if holder.host == socket.gethostname() else f"; if that job has ended, remove {folder / MARK}"
    return f"{key}={folder}: {holder} is using this folder; wait for it or end it, or give another folder{elsewhere}"


def _write(file: TextIO, kind: str, holder: Holder | None) -> None:
    """Replace the contents in place: a renamed file would not be the locked one."""
    content = {"kind": kind, "holder": asdict(holder) if holder else None}
    file.seek(0)
    file.truncate()
    file.write(json.dumps(content, indent=1) + "\n")
    file.flush()


def _program(path: Path) -> str:
    """The name of a program, also of one started with ``python -m``."""
    if path.name != "__main__.py":
        return path.name
    return "codeact" if path.parent.name == "cli" else path.parent.name


def _start_ticks(pid: int) -> int | None:
    """When a process of this machine started, in clock ticks since boot; ``None`` if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
