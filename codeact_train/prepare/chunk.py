"""Bunches of lines: what goes to a worker process, and what comes back.

Contract: where one bunch ends and the next begins changes nothing in the corpus. Cost: half a megabyte of records at a
time, and about the same in numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeact_train.data.document import Document, joined
from codeact_train.data.records import Record, parse, read_lines
from codeact_train.prepare.encode import EncodedRecord, Encoder
from codeact_train.prepare.near_duplicates import HASHES
from codeact_train.prepare.row_schema import REASON, ROW, Rows

BUNCH_BYTES = 2**19


@dataclass(frozen=True)
class Bunch:
    """Consecutive lines of one file of the mixture, as ``(line number, line)``; ``source`` is for records without."""

    file: int
    source: str
    lines: list[tuple[int, bytes]]


@dataclass(frozen=True)
class EncodedBunch:
    """``rows``: a row a line; their ``source`` counts in ``sources``. ``names``: a JSON line a row. ``lengths``,
    ``columns``: the documents to store, joined. ``signatures``: one a row, or none at all."""

    rows: Rows
    sources: list[str]
    names: list[bytes]
    lengths: NDArray[np.int32]
    columns: list[NDArray[Any]]
    signatures: NDArray[np.uint32]


def bunches(files: list[tuple[Path, str]], progress: Callable[[int], None]) -> Iterator[Bunch]:
    """The lines of the mixture's files, each given with the source of records that name none."""
    for index, (path, source) in enumerate(files):
        lines: list[tuple[int, bytes]] = []
        size = 0
        for number, raw in read_lines(path, progress):
            lines.append((number, raw))
            size += len(raw)
            if size >= BUNCH_BYTES:
                yield Bunch(index, source, lines)
                lines, size = [], 0
        yield Bunch(index, source, lines)


def encode_bunch(encoder: Encoder, bunch: Bunch) -> EncodedBunch:
    """All lines of a bunch."""
    rows = np.zeros(len(bunch.lines), ROW)
    near = encoder.config.deduplicate == "near"
    signatures = np.zeros((len(rows) if near else 0, HASHES), np.uint32)
    sources: dict[str, int] = {}
    names: list[bytes] = []
    pieces: list[Document] = []
    for place, (number, raw) in enumerate(bunch.lines):
        item = parse(raw)
        if isinstance(item, Record):
            made, record_id, source = encoder.encode(item, bunch.file), item.id, item.source or bunch.source
        else:
            made, record_id, source = EncodedRecord(item.reason, item.detail), None, bunch.source
        row = rows[place]
        row["file"], row["line"], row["reason"] = bunch.file, number, REASON[made.reason]
        row["source"] = sources.setdefault(source, len(sources))
        for key, value in made.numbers.items():
            row[key] = value
        if made.signature is not None:
            signatures[place] = made.signature
        name = {"id": record_id, "source": source, "detail": made.detail}
        names.append(json.dumps(name, ensure_ascii=False).encode() + b"\n")
        pieces += made.pieces
    return EncodedBunch(rows, list(sources), names, *joined(pieces), signatures)
