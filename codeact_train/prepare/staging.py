"""Encoded records on disk, until it is decided which of them enter the corpus.

Contract: documents are in the order of their rows; a row's strings are read by row number. Memory: the rows, and eight
bytes per row for the offset of its strings.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeact_train.data.indexed_dataset import COLUMNS, Column, DocumentWriter
from codeact_train.data.samples import Conversation
from codeact_train.prepare.chunk import EncodedChunk
from codeact_train.prepare.near_duplicates import HASHES
from codeact_train.prepare.row_schema import ROW, Rows


class StringStore:
    """The strings of each row: ``{"id", "source", "detail"}``."""

    def __init__(self, path: Path, sizes: NDArray[np.int64]):
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        with path.open("rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if len(sizes) else b""

    def __getitem__(self, row: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._text[self._starts[row] : self._starts[row + 1]])
        return found


@dataclass(frozen=True)
class Staged:
    """All encoded records.

    ``sources``: names of the rows' sources. ``columns``: ids, roles and weights of the documents. ``signatures``:
    uint32 [rows, HASHES], or no rows unless near-duplicates are dropped. ``conversations``: those that may be sampled,
    by row.
    """

    rows: Rows
    sources: list[str]
    strings: StringStore
    columns: list[Column]
    signatures: NDArray[np.uint32]
    conversations: dict[int, Conversation]

    @property
    def row_of_document(self) -> NDArray[np.int64]:
        """Index of the row each document belongs to."""
        return np.repeat(np.arange(len(self.rows)), self.rows["pieces"])


def stage(chunks: Iterable[EncodedChunk], folder: Path) -> Staged:
    """Write encoded chunks to ``folder`` as they arrive."""
    folder.mkdir()
    writer = DocumentWriter(folder)
    rows, sizes = [np.zeros(0, ROW)], [np.zeros(0, np.int64)]
    sources: dict[str, int] = {}
    conversations: dict[int, Conversation] = {}
    done = 0
    with (folder / "names.jsonl").open("wb") as names, (folder / "signatures").open("wb") as signatures:
        for chunk in chunks:
            source = np.array([sources.setdefault(name, len(sources)) for name in chunk.sources], np.uint32)
            chunk.rows["source"] = source[chunk.rows["source"]]
            rows.append(chunk.rows)
            conversations |= {done + row: conversation for row, conversation in chunk.conversations.items()}
            done += len(chunk.rows)
            sizes.append(np.array([len(name) for name in chunk.names], np.int64))
            names.writelines(chunk.names)
            signatures.write(chunk.signatures.data)
            writer.extend(chunk.lengths, chunk.columns)
    writer.close()
    signed = (folder / "signatures").stat().st_size > 0
    return Staged(
        rows=np.concatenate(rows),
        sources=list(sources),
        strings=StringStore(folder / "names.jsonl", np.concatenate(sizes)),
        columns=[Column(folder / name) for name in COLUMNS],
        signatures=(np.memmap(folder / "signatures", np.uint32, "r") if signed else np.zeros(0, np.uint32)).reshape(
            -1, HASHES
        ),
        conversations=conversations,
    )
