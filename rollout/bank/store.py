"""The append-only store of trajectories: a bank, one folder of JSON Lines shards.

Contract: ``append`` returns after the record is on disk (fsync). A killed writer leaves at most one unfinished last
line, which readers ignore and the next writer cuts off. A folder has one writer (an advisory lock refuses a second) and
any number of readers at any time. Ids are unique, with one exception: the record of an episode that was lost to the
infrastructure (earlier versions stored these) does not count as done, and a later record of its id replaces it.

A complete line that is not a trajectory is left out, and one line on standard error says how many there are;
:func:`verify_bank` names them. Nothing that was written is changed. Reading is linear in the file; only ids are kept in
memory.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from rollout.bank.trajectory import Trajectory

SHARD_BYTES = 256 * 2**20
_SHARD = re.compile(r"trajectories-(\d{5,})\.jsonl")
_ID = re.compile(rb'^\{"id":"([^"\\]*)"')
_mentioned: set[tuple[str, int]] = set()
"""Banks and their number of bad lines that this process has said."""


@dataclass(frozen=True)
class BadLine:
    """A line of a bank that is not a trajectory, or repeats one."""

    shard: Path
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.shard}, line {self.number}: {self.reason}"


def read_trajectories(folder: Path) -> Iterator[Trajectory]:
    """The complete records of a bank, in the order they were written. Bad lines are left out and counted."""
    bad = 0
    replaced: dict[str, tuple[Path, int]] | None = None
    for shard, number, record in _records(folder):
        if isinstance(record, BadLine):
            bad += 1
            continue
        if record.lost:
            replaced = _last_lines(folder) if replaced is None else replaced
            if replaced.get(record.id, (shard, number)) != (shard, number):
                continue
        yield record
    if bad and (str(folder), bad) not in _mentioned:
        _mentioned.add((str(folder), bad))
        lines = "1 line is" if bad == 1 else f"{bad} lines are"
        print(
            f"bank: {lines} no trajectory in {folder} and left out; `codeact bank verify {folder}` names them",
            file=sys.stderr,
        )


def verify_bank(folder: Path) -> tuple[int, list[BadLine]]:
    """Number of sound records in a bank, and its other lines: those that are no trajectories, and repeated ids."""
    seen: dict[str, bool] = {}
    sound, bad = 0, []
    for shard, number, record in _records(folder, unfinished=True):
        if isinstance(record, BadLine):
            bad.append(record)
        elif record.id in seen and not seen[record.id]:
            bad.append(BadLine(shard, number, f"id {record.id} is in the bank already"))
        else:
            seen[record.id] = record.lost
            sound += 1
    return sound, bad


def write_bank(folder: Path, records: Iterable[Trajectory]) -> int:
    """A new bank of these records; returns their number. The folder appears complete or not at all.

    Raises:
        ValueError: the folder exists and is not empty.
        OSError: the disk is full, or the like.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"bank: {folder} exists; choose another folder")
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    unfinished.mkdir(parents=True)
    try:
        number = _write_shards(unfinished, records)
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return number


def _write_shards(folder: Path, records: Iterable[Trajectory]) -> int:
    """Writes shards of at most :data:`SHARD_BYTES` and a record; each is on disk when it is closed."""
    number, shards, waiting = 0, 0, iter(records)
    record = next(waiting, None)
    while record is not None or not shards:
        shards += 1
        with (folder / f"trajectories-{shards:05d}.jsonl").open("wb") as shard:
            while record is not None and shard.tell() <= SHARD_BYTES:
                shard.write(record.model_dump_json().encode() + b"\n")
                number, record = number + 1, next(waiting, None)
            shard.flush()
            os.fsync(shard.fileno())
    return number


class TrajectoryStore:
    """A bank that is open for appending. Use it as a context manager.

    Args:
        see: called with the record of each episode that is done: those in the bank, then each that is appended.

    Raises:
        ValueError: another process writes the bank.
    """

    def __init__(self, folder: Path, see: Callable[[Trajectory], None] | None = None) -> None:
        self.folder, self._see = folder, see
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"bank: {folder} is being written by another process; wait for it or end it") from None
        self.ids: set[str] = set()
        """Ids of the episodes that are done; those lost to the infrastructure are not."""
        for record in read_trajectories(folder):
            self._add(record)
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
        self._add(record)

    def _add(self, record: Trajectory) -> None:
        if record.lost:
            return
        self.ids.add(record.id)
        if self._see is not None:
            self._see(record)

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
        """The number of the last shard that a store has written; only these are appended to."""
        numbers = (_SHARD.fullmatch(path.name) for path in self.folder.glob("*.jsonl"))
        return max((int(number[1]) for number in numbers if number), default=0)

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


def _lines(folder: Path) -> Iterator[tuple[Path, int, bytes]]:
    """Shard, number and bytes of each line that is not blank. A file stands for a bank of one shard."""
    for shard in [folder] if folder.is_file() else sorted(folder.glob("*.jsonl")):
        with shard.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.isspace():
                    yield shard, number, line


def _records(folder: Path, *, unfinished: bool = False) -> Iterator[tuple[Path, int, Trajectory | BadLine]]:
    """Every line as a record or a bad line; an unfinished last line only where it is asked for."""
    for shard, number, line in _lines(folder):
        if line.endswith(b"\n"):
            yield shard, number, _parse(line, shard, number)
        elif unfinished:
            yield shard, number, BadLine(shard, number, "the line is cut off before its end")


def _last_lines(folder: Path) -> dict[str, tuple[Path, int]]:
    """The last line of each id."""
    found = ((_ID.match(line), shard, number) for shard, number, line in _lines(folder))
    return {match[1].decode(errors="replace"): (shard, number) for match, shard, number in found if match}


def _parse(line: bytes, shard: Path, number: int) -> Trajectory | BadLine:
    try:
        return Trajectory.model_validate_json(line)
    except ValidationError as fault:
        first = fault.errors(include_input=False)[0]
        key = ".".join(map(str, first["loc"]))
        return BadLine(shard, number, f"{key}: {first['msg']}" if key else first["msg"])
