"""The append-only store of trajectories: a bank, one folder of JSON Lines shards.

Contract: ``append`` returns after the record is on disk (fsync). A killed writer leaves at most one unfinished last
line, which readers ignore and the next writer cuts off. A folder has one writer (an advisory lock refuses a second) and
any number of readers at any time. Ids are unique: appending a known id is refused, so no episode is stored twice.
Reading is linear in the file; only ids are kept in memory.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from rollout.trajectory import Trajectory

SHARD_BYTES = 256 * 2**20


def read_trajectories(folder: Path) -> Iterator[Trajectory]:
    """The complete records of a bank, in the order they were written.

    Raises:
        ValueError: a complete line is not a trajectory; the message names shard and line.
    """
    for shard in sorted(folder.glob("*.jsonl")):
        with shard.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break
                yield _parse(line, shard, number)


class TrajectoryStore:
    """A bank that is open for appending. Use it as a context manager.

    Raises:
        ValueError: another process writes the bank.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"bank: {folder} is being written by another process; wait for it or end it") from None
        self.ids = {record.id for record in read_trajectories(folder)}
        self._shard = self._open_last()

    def append(self, record: Trajectory) -> None:
        """Writes one record to disk.

        Raises:
            ValueError: the id is in the bank already.
            OSError: the disk is full, or the like; the shard ends with the record before.
        """
        if record.id in self.ids:
            raise ValueError(f"bank: trajectory {record.id} is in {self.folder} already")
        if self._shard.tell() > SHARD_BYTES:
            self._shard.close()
            self._shard = self._open(self._count() + 1)
        self._write(record.model_dump_json().encode() + b"\n")
        self.ids.add(record.id)

    def _write(self, line: bytes) -> None:
        """Writes a whole line to disk, or none of it."""
        start, rest = self._shard.tell(), memoryview(line)
        try:
            while rest:
                rest = rest[self._shard.write(rest) :]
            os.fsync(self._shard.fileno())
        except OSError as error:
            self._shard.truncate(start)
            error.filename = self._shard.name
            raise

    def close(self) -> None:
        """Releases the bank."""
        self._shard.close()
        self._lock.close()

    def __enter__(self) -> TrajectoryStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _count(self) -> int:
        return len(list(self.folder.glob("*.jsonl")))

    def _open(self, number: int) -> FileIO:
        return (self.folder / f"trajectories-{number:05d}.jsonl").open("ab", buffering=0)

    def _open_last(self) -> FileIO:
        """The last shard, without an unfinished line that a killed writer may have left."""
        shard = self._open(max(1, self._count()))
        with Path(shard.name).open("rb") as written:
            content = written.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            shard.truncate(whole)
        shard.seek(0, os.SEEK_END)
        return shard


def _parse(line: bytes, shard: Path, number: int) -> Trajectory:
    try:
        return Trajectory.model_validate_json(line)
    except ValidationError as fault:
        first = fault.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the record"
        raise ValueError(f"bank: {shard}, line {number}: {key}: {first['msg']}; delete or correct the line") from None
