"""The row of numbers kept for every line that was read; all decisions about records use these rows.

Contract: rows are in the order of the files and their lines. Their strings (id, source, error detail) stay on disk, one
JSON line per row. Cost: 63 bytes per row.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

REASONS = (
    "kept", "not_json", "incomplete_line", "bad_record", "duplicate_id", "template", "contaminated", "over_long",
    "nothing_trained", "duplicate", "near_duplicate", "mixture", "tool_calls", "empty_reply", "mask_key",
)  # fmt: skip
"""Outcome of a record; a row's ``reason`` is an index into it."""
REASON = {name: code for code, name in enumerate(REASONS)}

ROW = np.dtype(
    [
        ("file", np.uint16),
        ("line", np.int64),
        ("reason", np.uint8),
        ("source", np.uint32),
        ("tokens", np.int32),  # of the whole record
        ("stored", np.int32),  # tokens of its pieces that carry loss
        ("pieces", np.int32),  # number of those pieces
        ("split", np.bool_),  # whether it became several documents
        ("unrolled", np.bool_),  # whether the template needs several documents for it
        ("cuts", np.int32),  # cuts within a turn
        ("lost", np.int32),  # trained tokens that lost their predecessor
        ("id", np.uint64),
        ("text", np.uint64),
        ("held_out", np.bool_),
        ("draw", np.float64),  # uniform in [0, 1), for the mixture
        ("controls", np.bool_),  # whether its text spells out a control token
        ("reasoning", np.bool_),  # whether reasoning beside its text was left out
    ]
)
Rows: TypeAlias = NDArray[Any]


def digest64(text: bytes) -> int:
    """64 bits of BLAKE2b. The chance of a collision among ten million different texts is 3 in a million."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def first_of_each(digests: NDArray[np.uint64], among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row in ``among``, the first row with the same digest; every other row maps to itself."""
    first = np.arange(len(digests))
    rows = np.flatnonzero(among)
    order = rows[np.argsort(digests[rows], kind="stable")]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = digests[order[1:]] != digests[order[:-1]]
    group = np.cumsum(starts) - 1
    first[order] = order[starts][group]
    return first
