"""The items of a file or folder of records, one at a time, as JSON.

Contract: ``read_lines`` yields each item of a source with its place. The place is the number of its line, for arrays
and tables the number of the record, counted from 1. Sources are JSON Lines, pretty-printed objects, a JSON array
(``values``), each in any encoding and compression that ``streams`` knows, Parquet, Arrow, and folders of ``datasets``
(``tables``). Cost: one item or batch of rows in memory. Whether an item is a record is decided in ``parse``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from codeact_train.config.prepare import ReadingSettings
from codeact_train.data.records.parse import parse
from codeact_train.data.records.record import Record, Unreadable
from codeact_train.data.records.streams import compression, open_utf8
from codeact_train.data.records.tables import saved_files, saved_splits, table_form, table_rows
from codeact_train.data.records.values import is_array, json_values

Progress = Callable[[int], None]
_REPORT_EVERY = 1024


def data_files(path: Path) -> list[Path]:
    """The files whose contents are the items of a source: the path itself, or the parts of a saved data set.

    Raises ``ValueError`` when the path is neither.
    """
    if path.is_file():
        return [path]
    if files := saved_files(path):
        return files
    if splits := saved_splits(path):
        raise ValueError(f"records={path}: a data set with splits; give {' or '.join(f'{path}:{s}' for s in splits)}")
    if path.is_dir():
        raise ValueError(
            f"records={path}: a folder that save_to_disk of datasets did not write; give its files one by one, or "
            f"{path}:SPLIT, for example {path}:train"
        )
    raise ValueError(
        f"records={path}: no such file; run select first, give a file of records, or NAME:SPLIT for a data set"
    )


def size_bytes(path: Path) -> int:
    """Size of a source on disk."""
    return sum(file.stat().st_size for file in data_files(path))


def read_lines(
    path: Path, progress: Progress = lambda _: None, encoding: str | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yields ``(place, JSON)`` for each item; ``progress`` receives the number of file bytes read since its last call.

    ``encoding`` is that of a text file; by default it is recognised. Raises ``ValueError`` when a file is damaged.
    """
    before = 0
    for file in data_files(path):
        place, report = before, _Report(progress)
        try:
            for number, item in _items(file, report, encoding):
                place = before + number
                yield place, item
        except FileNotFoundError as error:
            raise ValueError(f"{error.filename}: no such file, although {path} names it; save the data again") from None
        report(file.stat().st_size)
        before = place


def read_records(
    path: Path, rules: ReadingSettings, progress: Progress = lambda _: None, encoding: str | None = None
) -> Iterator[tuple[int, Record | Unreadable]]:
    """Yields ``(place, record or the reason why there is none)``; arguments and errors are those of ``read_lines``."""
    for place, item in read_lines(path, progress, encoding):
        yield place, parse(item, rules)


def describe_form(path: Path) -> str:
    """The form of a source in words, such as "JSON Lines, gzip"."""
    if not path.is_file():
        return f"a saved data set, {len(data_files(path))} Arrow files"
    if table := table_form(path):
        return table
    with open_utf8(path) as (stream, _):
        words = ["a JSON array" if is_array(stream) else "JSON objects"]
    return ", ".join([*words, *filter(None, [compression(path)])])


class _Report:
    """Turns positions in a file into the bytes read since the last call."""

    def __init__(self, progress: Progress):
        self._progress, self._reported = progress, 0

    def __call__(self, position: int) -> None:
        self._progress(position - self._reported)
        self._reported = position


def _items(path: Path, read: Callable[[int], None], encoding: str | None) -> Iterator[tuple[int, bytes]]:
    if table_form(path):
        yield from enumerate(table_rows(path, read), start=1)
        return
    with open_utf8(path, encoding) as (stream, position):
        try:
            for count, (number, item) in enumerate(json_values(stream), start=1):
                if count % _REPORT_EVERY == 0:
                    read(position())
                yield number, item
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
