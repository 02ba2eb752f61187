"""Reads the rows of one file, by its name: JSON Lines, a JSON array, CSV, Parquet or a saved folder of ``datasets``.

Contract: a row is a dict, in the order of the file. A row that cannot be read is an error that names file and line.
Text files may be compressed (``.gz``, ``.xz``). Memory: one text file is held whole; Parquet is read in batches.
"""

from __future__ import annotations

import gzip
import json
import lzma
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_text(path: Path) -> str:
    """The content of a text file, decompressed."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".xz":
        data = lzma.decompress(data)
    return data.decode("utf-8-sig")


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file or folder.

    Raises:
        ValueError: it is not of a known form, or a line is no JSON object.
    """
    if path.is_dir():
        yield from _saved_folder(path)
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    elif ".jsonl" in path.suffixes:
        yield from (row for _, row in json_lines(path))
    elif ".json" in path.suffixes:
        yield from _json(path)
    else:
        raise ValueError(f"{path}: not a form that is read; use .jsonl, .json (also .gz, .xz), .parquet or a folder")


def read_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in a folder or a tar archive, sorted by name."""
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    with tarfile.open(path) as archive:
        for member in sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name):
            content = archive.extractfile(member)
            assert content is not None
            yield member.name.removeprefix("./"), content.read()


def json_lines(path: Path) -> Iterator[tuple[int, Row]]:
    """Line number, from 1, and row of each line of a file that is not empty.

    Raises:
        ValueError: a line is no JSON object; the message names it.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):  # splitlines() also splits at U+2028
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as fault:
            raise ValueError(f"{path}:{number}: not JSON: {fault}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{number}: a JSON object is needed, not {type(row).__name__}")
        yield number, row


def _json(path: Path) -> Iterator[Row]:
    """A JSON array, or JSON Lines under the name ``.json``."""
    text = read_text(path)
    if not text.lstrip().startswith("["):
        yield from (row for _, row in json_lines(path))
        return
    try:
        rows = json.loads(text)
    except ValueError as fault:
        raise ValueError(f"{path}: not JSON: {fault}") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"{path}: item {number}: a JSON object is needed, not {type(row).__name__}")
        yield row


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet

    for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


def _saved_folder(path: Path) -> Iterator[Row]:
    """A folder of ``Dataset.save_to_disk``, or one with Parquet or JSON Lines files, read in order of name."""
    if (path / "state.json").is_file():
        import datasets

        yield from (dict(row) for row in datasets.load_from_disk(str(path)))
        return
    files = sorted([*path.glob("*.parquet"), *path.glob("*.jsonl*")])
    if not files:
        raise ValueError(f"{path}: the folder holds no data set; it needs .parquet or .jsonl files, or state.json")
    for file in files:
        yield from read_rows(file)
