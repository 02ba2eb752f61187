"""One row of numbers for every line that was read: what becomes of records is decided on these.

Contract: rows stand in the order of the files and their lines. Their strings (id, source, what is wrong) stay on disk,
one JSON line a row. Cost: 62 bytes a row.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

REASONS = (
    "kept", "not_json", "incomplete_line", "bad_record", "duplicate_id", "template", "contaminated", "over_long",
    "nothing_trained", "duplicate", "near_duplicate", "mixture",
)  # fmt: skip
"""What becomes of a record; a row's ``reason`` is a position in it."""
REASON = {name: code for code, name in enumerate(REASONS)}

ROW = np.dtype(
    [
        ("file", np.uint16),
        ("line", np.int64),
        ("reason", np.uint8),
        ("source", np.uint32),
        ("tokens", np.int32),  # of the whole record
        ("stored", np.int32),  # of its pieces that carry loss
        ("pieces", np.int32),  # those pieces
        ("split", np.bool_),  # it had several
        ("cuts", np.int32),  # cuts within a turn
        ("lost", np.int32),  # targets that nothing predicts any more
        ("id", np.uint64),
        ("text", np.uint64),
        ("held_out", np.bool_),
        ("draw", np.float64),  # uniform in [0, 1), for the mixture
        ("controls", np.bool_),  # its text spells out a control token
    ]
)
Rows: TypeAlias = NDArray[Any]


def digest64(text: bytes) -> int:
    """64 bits of BLAKE2b. The chance that two of ten million different texts share them is 3 in a million."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def first_of_each(digests: NDArray[np.uint64], among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row the first row with its digest (itself, if it is that), looking at the rows ``among`` only."""
    first = np.arange(len(digests))
    rows = np.flatnonzero(among)
    order = rows[np.argsort(digests[rows], kind="stable")]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = digests[order[1:]] != digests[order[:-1]]
    group = np.cumsum(starts) - 1
    first[order] = order[starts][group]
    return first
