"""Chunks of items: the unit of work of an encoding process, and its result.

Contract: chunk boundaries do not affect the corpus. Cost: half a megabyte of records at a time, and about as much in
numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeact_train.data.document import Document, concatenate
from codeact_train.data.records import Record, parse, read_lines
from codeact_train.data.samples import Conversation, is_candidate
from codeact_train.prepare.encode import EncodedRecord, Encoder
from codeact_train.prepare.near_duplicates import HASHES
from codeact_train.prepare.row_schema import REASON, ROW, Rows

CHUNK_BYTES = 2**19


@dataclass(frozen=True)
class Chunk:
    """Consecutive items of one file of the mixture, as ``(place, JSON)``; ``source`` is for records that name none."""

    file: int
    source: str
    lines: list[tuple[int, bytes]]


@dataclass(frozen=True)
class EncodedChunk:
    """The result of encoding a chunk.

    ``rows``: one row per line; their ``source`` is an index into ``sources``. ``names``: one JSON line per row.
    ``lengths``, ``columns``: the documents to store, concatenated. ``signatures``: one per row, or empty.
    ``conversations``: those of rows that may be sampled.
    """

    rows: Rows
    sources: list[str]
    names: list[bytes]
    lengths: NDArray[np.int32]
    columns: list[NDArray[Any]]
    signatures: NDArray[np.uint32]
    conversations: dict[int, Conversation]


def read_chunks(files: list[tuple[Path, str]], progress: Callable[[int], None]) -> Iterator[Chunk]:
    """The items of the mixture's files; each file comes with the source of records that name none."""
    for index, (path, source) in enumerate(files):
        lines: list[tuple[int, bytes]] = []
        size = 0
        for number, raw in read_lines(path, progress):
            lines.append((number, raw))
            size += len(raw)
            if size >= CHUNK_BYTES:
                yield Chunk(index, source, lines)
                lines, size = [], 0
        yield Chunk(index, source, lines)


def encode_chunk(encoder: Encoder, chunk: Chunk) -> EncodedChunk:
    """Encode all lines of a chunk."""
    rows = np.zeros(len(chunk.lines), ROW)
    near = encoder.config.deduplicate == "near"
    signatures = np.zeros((len(rows) if near else 0, HASHES), np.uint32)
    sources: dict[str, int] = {}
    names: list[bytes] = []
    pieces: list[Document] = []
    conversations: dict[int, Conversation] = {}
    for index, (number, raw) in enumerate(chunk.lines):
        item = parse(raw, encoder.config.reading)
        if isinstance(item, Record):
            made, source = encoder.encode(item, chunk.file, number), item.source or chunk.source
        else:
            made, source = EncodedRecord(item.reason, item.detail), chunk.source
        row = rows[index]
        row["file"], row["line"], row["reason"] = chunk.file, number, REASON[made.reason]
        row["source"] = sources.setdefault(source, len(sources))
        for key, value in made.numbers.items():
            row[key] = value
        if made.signature is not None:
            signatures[index] = made.signature
        name = {"id": item.id, "source": source, "detail": made.detail}
        names.append(json.dumps(name, ensure_ascii=False).encode() + b"\n")
        pieces += made.pieces
        if made.conversation and is_candidate(number):
            conversations[index] = made.conversation
    return EncodedChunk(rows, list(sources), names, *concatenate(pieces), signatures, conversations)
