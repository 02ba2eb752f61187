"""Converts files of records of any form into one file of records of the project's own form.

Contract: ``convert`` writes the file completely or not at all. Records keep their order. Records that cannot be read
are listed in ``<out>.dropped.jsonl`` with file, line, id and reason. ``count_records`` reads without writing. Cost: one
record in memory; one pass.
"""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from codeact_train import ReadingSettings, Record, describe_form, read_records, size_bytes
from launch.inputs.resolve_records import resolve_records
from launch.output_files import check_new
from rollout import atomic_file

SHOWN_DROPPED = 6
"""Reasons for which a message names the first dropped record."""


@dataclass
class Count:
    """What was read: ``dropped`` by reason, ``first`` sentences about the first of each reason."""

    kept: int = 0
    turns: Counter[str] = field(default_factory=Counter)
    without_id: int = 0
    reasoning_left_out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    @property
    def read(self) -> int:
        """Records read, kept or not."""
        return self.kept + self.dropped.total()

    def sentence(self) -> str:
        """The counts in words."""
        dropped = "".join(f", {count} {reason}" for reason, count in self.dropped.most_common())
        return f"{self.kept} of {self.read} records{dropped}"

    def named(self) -> str:
        """The first dropped records in words."""
        more = self.dropped.total() - len(self.first)
        return "; ".join([*self.first, *([f"and {more} more"] if more else [])])


@dataclass(frozen=True)
class Reading:
    """How to read the sources; ``encoding`` of text files, recognised by default."""

    rules: ReadingSettings
    encoding: str | None = None


def convert(sources: Sequence[str], out: Path, reading: Reading, *, replace: bool = False) -> Count:
    """Writes the records of ``sources`` to ``out``, compressed if its name ends in ``.gz``.

    Raises:
        ValueError: ``out`` exists and ``replace`` is false, a source cannot be read, or no record is left.
    """
    listing = dropped_file(out)
    check_new(out, replace, listing)
    count = Count()
    with ExitStack() as files, atomic_file(out) as unfinished, open_text(unfinished, out) as lines:
        dropped: IO[str] | None = None
        for given, place, item in _items(sources, reading):
            if isinstance(item, Record):
                lines.write(item.line())
            else:
                if dropped is None:
                    dropped = files.enter_context(files.enter_context(atomic_file(listing)).open("w", encoding="utf-8"))
                one = {"file": given, "line": place, "id": item.id, "reason": item.reason, "detail": item.detail}
                dropped.write(json.dumps(one, ensure_ascii=False) + "\n")
            _add(count, given, place, item)
        if not count.kept:
            raise ValueError(f"{', '.join(sources)}: no record, nothing is written; {_why_none(count)}")
        if replace and dropped is None:
            listing.unlink(missing_ok=True)  # of a former conversion
    return count


def dropped_file(out: Path) -> Path:
    """The list of records that a conversion to ``out`` has dropped."""
    return out.with_name(f"{out.name}.dropped.jsonl")


def count_records(source: str, reading: Reading) -> Count:
    """Reads all records of a source."""
    counted = Count()
    for given, place, item in _items([source], reading):
        _add(counted, given, place, item)
    return counted


def described(source: str) -> str:
    """The form of a source in words."""
    return describe_form(resolve_records(source))


def records(source: str, reading: Reading) -> Iterator[tuple[int, Record | Any]]:
    """Place and record of each item of a source."""
    for _, place, item in _items([source], reading, bar=False):
        yield place, item


def _items(sources: Sequence[str], reading: Reading, *, bar: bool = True) -> Iterator[tuple[str, int, Record | Any]]:
    """Name of the source, place in it, and record or reason."""
    paths = [resolve_records(source) for source in sources]
    columns = (TextColumn("read"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not (bar and console.is_terminal)) as shown:
        task = shown.add_task("read", total=sum(map(size_bytes, paths)))
        for source, path in zip(sources, paths, strict=True):
            for place, item in read_records(
                path, reading.rules, lambda done: shown.advance(task, done), reading.encoding
            ):
                yield source, place, item


def _add(count: Count, source: str, place: int, item: Record | Any) -> None:
    if isinstance(item, Record):
        count.kept += 1
        count.turns.update(turn.role for turn in item.conversations)
        count.without_id += item.id_from_content
        count.reasoning_left_out += item.reasoning_left_out
        return
    count.dropped[item.reason] += 1
    if count.dropped[item.reason] == 1 and len(count.first) < SHOWN_DROPPED:
        count.first.append(f"{source} line {place}{f' ({item.id})' if item.id else ''}: {item.detail}")


def _why_none(count: Count) -> str:
    return f"{count.sentence()}; {count.named()}" if count.read else "the input is empty"


@contextmanager
def open_text(unfinished: Path, out: Path) -> Iterator[IO[str]]:
    """A text file to write at ``unfinished``, compressed if the name of ``out`` ends in ``.gz``; the same text gives
    the same bytes."""
    if out.suffix == ".gz":
        with unfinished.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
            with io.TextIOWrapper(packed, encoding="utf-8") as text:
                yield text
    else:
        with unfinished.open("w", encoding="utf-8") as text:
            yield text
