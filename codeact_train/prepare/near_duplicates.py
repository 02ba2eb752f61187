"""Near-duplicate records, by MinHash.

Contract: a record is a near-duplicate of an earlier record that stays when the estimated Jaccard similarity of their
shingles (``SHINGLE_TOKENS`` consecutive tokens) is at least ``THRESHOLD``. Headers and system messages are excluded
because all records of a protocol share them. The relation is not transitive: a record that resembles only dropped
records stays.

The estimate (Broder 1997; signatures by datasketch) is the share of equal entries of two signatures, with a standard
error of 0.036 at a similarity of 0.8. Candidates agree in all ``BAND_ROWS`` entries of one of ``BANDS`` bands: a pair
with a similarity of 0.8 is a candidate with probability 1 - (1 - 0.8^5)^25 = 0.99995. Signatures stay on disk: 500
bytes per record. Memory: one band of them, and the records that share a bucket with another record. datasketch's index
would hold a Python object per band and record.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

SHINGLE_TOKENS = 5
THRESHOLD = 0.8
BANDS, BAND_ROWS = 25, 5
HASHES = BANDS * BAND_ROWS

_EMPTY = MinHash(HASHES, seed=1, hashfunc=int, scheme="affine32")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def signature(ids: NDArray[np.int32]) -> NDArray[np.uint32]:
    """MinHash signature of the shingles of ``ids``: uint32 [HASHES]."""
    made = _EMPTY.copy()
    made.update_batch((ngram_hashes(ids.astype(np.uint64), SHINGLE_TOKENS) >> np.uint64(32)).tolist())
    return made.hashvalues


def ngram_hashes(values: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """A hash of each ``length`` consecutive values, or of all values if there are fewer: uint64 [max(n - length, 0) +
    1]."""
    length = min(length, len(values))
    count = len(values) - length + 1
    total = np.zeros(count, np.uint64)
    for shift in range(length):  # a polynomial modulo 2^64, mixed so that low bits matter as much as high ones
        total = total * _MULTIPLIER + values[shift : shift + count] + np.uint64(1)
        total ^= total >> np.uint64(29)
    return total * _MULTIPLIER


def near_duplicates(signatures: NDArray[np.uint32], among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row in ``among``, the earlier row it nearly duplicates and that stays, or the row itself."""
    twin = np.arange(len(among))
    rows, offset, buckets = _shared_buckets(signatures, np.flatnonzero(among))
    staying: dict[int, list[int]] = defaultdict(list)  # bucket to rows
    for row, start, end in zip(rows.tolist(), offset[:-1].tolist(), offset[1:].tolist(), strict=True):
        own = buckets[start:end].tolist()
        candidates = sorted({earlier for bucket in own for earlier in staying[bucket]})
        alike = (signatures[candidates] == signatures[row]).mean(axis=1) >= THRESHOLD
        if alike.any():
            twin[row] = candidates[int(alike.argmax())]
        else:
            for bucket in own:
                staying[bucket].append(row)
    return twin


def _shared_buckets(
    signatures: NDArray[np.uint32], members: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The rows that share a bucket with another row, the offset of each row's buckets, and those buckets."""
    rows, buckets = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    opened = 0
    for band in range(BANDS):
        keys = np.zeros(len(members), np.uint64)
        for entry in range(band * BAND_ROWS, (band + 1) * BAND_ROWS):
            keys = (keys ^ signatures[members, entry]) * _MULTIPLIER
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
