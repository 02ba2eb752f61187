"""Records that say the same: exactly, or nearly.

Contract: a record goes when an earlier one of the mixture that stays says the same. Exactly means equal roles and
contents. Nearly means an estimated Jaccard similarity of at least ``ALIKE`` between the sets of ``RUN`` tokens in a
row, headers and system messages left out because all records of a protocol share them. Likeness is not passed on: what
is like a record that went, but like none that stays, stays too.

The estimate is MinHash's (Broder 1997; signatures by datasketch): the share of equal places of two signatures, with a
standard error of 0.036 at a similarity of 0.8. Candidates agree in all ``ROWS`` places of one of ``BANDS`` bands: with
a similarity of 0.8 a pair is one with probability 1 - (1 - 0.8^5)^25 = 0.99995. Signatures stay on disk: 500 bytes a
record. Memory: one band of them, and the records that agree with another in some band. datasketch's own index would
hold a Python object for each band of each record.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

RUN = 5
ALIKE = 0.8
BANDS, ROWS = 25, 5
HASHES = BANDS * ROWS

_EMPTY = MinHash(HASHES, seed=1, hashfunc=int, scheme="affine32")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def signature(ids: NDArray[np.int32]) -> NDArray[np.uint32]:
    """MinHash of the runs of tokens in ``ids``: uint32 [HASHES]."""
    made = _EMPTY.copy()
    made.update_batch((run_hashes(ids.astype(np.uint64), RUN) >> np.uint64(32)).tolist())
    return made.hashvalues


def run_hashes(values: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """A hash of each ``length`` values in a row, or of all if there are fewer: uint64 [max(n - length, 0) + 1]."""
    length = min(length, len(values))
    count = len(values) - length + 1
    total = np.zeros(count, np.uint64)
    for place in range(length):  # a polynomial modulo 2^64, mixed so that its low bits matter as much as its high ones
        total = total * _MULTIPLIER + values[place : place + count] + np.uint64(1)
        total ^= total >> np.uint64(29)
    return total * _MULTIPLIER


def near_duplicates(signatures: NDArray[np.uint32], among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each of the rows ``among`` the row it is nearly the same as: an earlier one that stays, or itself."""
    twin = np.arange(len(among))
    rows, offset, buckets = _shared_buckets(signatures, np.flatnonzero(among))
    staying: dict[int, list[int]] = defaultdict(list)  # rows by bucket
    for row, start, end in zip(rows.tolist(), offset[:-1].tolist(), offset[1:].tolist(), strict=True):
        own = buckets[start:end].tolist()
        candidates = sorted({earlier for bucket in own for earlier in staying[bucket]})
        alike = (signatures[candidates] == signatures[row]).mean(axis=1) >= ALIKE
        if alike.any():
            twin[row] = candidates[int(alike.argmax())]
        else:
            for bucket in own:
                staying[bucket].append(row)
    return twin


def _shared_buckets(
    signatures: NDArray[np.uint32], members: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The rows that agree with another in some band, where the buckets of each begin, and those buckets."""
    rows, buckets = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    opened = 0
    for band in range(BANDS):
        keys = np.zeros(len(members), np.uint64)
        for place in range(band * ROWS, (band + 1) * ROWS):
            keys = (keys ^ signatures[members, place]) * _MULTIPLIER
            keys ^= keys >> np.uint64(32)
        _, bucket, size = np.unique(keys, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(size[bucket] > 1)
        rows.append(members[shared])
        buckets.append(opened + bucket[shared])
        opened += len(size)
    row, bucket = np.concatenate(rows), np.concatenate(buckets)
    order = np.argsort(row, kind="stable")
    unique, start = np.unique(row[order], return_index=True)
    return unique, np.append(start, len(row)), bucket[order]
