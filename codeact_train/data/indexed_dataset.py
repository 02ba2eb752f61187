"""Documents on disk as columns of numbers, in the format of Megatron's indexed dataset.

Contract: ``<name>.bin`` holds a column's values document after document, ``<name>.idx`` the length and start of each.
Megatron's ``IndexedDataset`` (Megatron-Core 0.16, ``core/datasets/indexed_dataset.py``) reads the pair. Writing keeps
four bytes per document in memory; reading maps the values and loads the index. The module needs neither torch nor
Megatron, whose import takes longer than preparing a small corpus.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMNS: dict[str, type[np.generic]] = {"tokens": np.int32, "roles": np.uint8, "weights": np.float32}
"""The columns of a corpus: token ids, the role of each token, the loss weight of each token as a target."""

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_CODES: dict[type[np.generic], int] = {np.uint8: 1, np.int32: 4, np.float32: 7}
_HEADER = struct.Struct("<QBQQ")


class ColumnWriter:
    """Appends documents to ``path``.bin; :meth:`close` writes the index."""

    def __init__(self, path: Path, dtype: type[np.generic]):
        self.path, self.dtype = path, dtype
        self._file = path.with_suffix(".bin").open("wb")

    def extend(self, values: NDArray[Any]) -> None:
        """Append the values of any number of documents, one after another."""
        self._file.write(np.ascontiguousarray(values, dtype=self.dtype).data)

    def close(self, lengths: NDArray[np.int32]) -> None:
        """Write the index of documents of these lengths."""
        self._file.close()
        count, size = len(lengths), np.dtype(self.dtype).itemsize
        starts = np.zeros(count, np.int64)
        np.cumsum(lengths[:-1], out=starts[1:], dtype=np.int64)
        with self.path.with_suffix(".idx").open("wb") as file:
            file.write(_MAGIC + _HEADER.pack(_VERSION, _CODES[self.dtype], count, count + 1))
            file.write(lengths.astype(np.int32).data)
            file.write((starts * size).data)
            file.write(np.arange(count + 1, dtype=np.int64).data)


class DocumentWriter:
    """Appends documents to the columns of a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._columns = [ColumnWriter(folder / name, dtype) for name, dtype in COLUMNS.items()]
        self._lengths = [np.zeros(0, np.int32)]

    def extend(self, lengths: NDArray[np.int32], columns: Sequence[NDArray[Any]]) -> None:
        """Append documents of these lengths, given as one array per column."""
        self._lengths.append(lengths)
        for column, values in zip(self._columns, columns, strict=True):
            column.extend(values)

    def close(self) -> None:
        """Write the indices."""
        lengths = np.concatenate(self._lengths)
        for column in self._columns:
            column.close(lengths)


class Column:
    """One column, opened for reading.

    Item ``i`` is a read-only view of the values of document ``i``. ``lengths``: number of values of each document.
    ``starts``: number of values before each document.
    """

    def __init__(self, path: Path):
        """Raises ``ValueError`` when the index has another format or does not match the size of the values."""
        self.path = path
        raw = path.with_suffix(".idx").read_bytes()
        if not raw.startswith(_MAGIC):
            raise ValueError(f"{path}.idx is not the index of a Megatron dataset")
        _, code, count, _ = _HEADER.unpack_from(raw, len(_MAGIC))
        dtype = next(np.dtype(kind) for kind, known in _CODES.items() if known == code)
        head = len(_MAGIC) + _HEADER.size
        self.lengths = np.frombuffer(raw, np.int32, count, offset=head)
        self.starts = np.frombuffer(raw, np.int64, count, offset=head + 4 * count) // dtype.itemsize
        binary = path.with_suffix(".bin")
        size, counted = binary.stat().st_size, int(self.lengths.sum(dtype=np.int64)) * dtype.itemsize
        if size != counted:
            raise ValueError(f"{binary.name} has {size} bytes, but its index counts {counted}")
        empty = size == 0  # mmap refuses an empty file
        self.values = np.zeros(0, dtype) if empty else np.memmap(binary, dtype, "r").view(np.ndarray)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> NDArray[Any]:
        start = self.starts[index]
        return self.values[start : start + self.lengths[index]]

    def range(self, first: int, end: int) -> NDArray[Any]:
        """The concatenated values of documents ``first`` up to ``end``."""
        return self.values[self.starts[first] : self.starts[end - 1] + self.lengths[end - 1]]
