"""Records that say the same: exactly, or nearly.

Contract: of the records that say the same, the first of the mixture that is not dropped for another reason stays. Exact
means equal roles and contents. Nearly means an estimated Jaccard similarity of at least ``ALIKE`` between the sets of
``RUN`` tokens in a row, headers and system messages left out because all records of a protocol share them; a chain of
such pairs counts as one group (as in Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better").

The estimate is MinHash's (Broder 1997; signatures by datasketch): the share of equal places of two signatures, with a
standard error of 0.036 at a similarity of 0.8. Candidates agree in all ``ROWS`` places of one of ``BANDS`` bands: with
a similarity of 0.8 a pair is one with probability 1 - (1 - 0.8^5)^25 = 0.99995. Signatures stay on disk: 500 bytes a
record; in memory, one band of them. datasketch's own index would hold a Python object for each band of each record.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from codeact_train.prepare.table import first_of_each

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
    """For each row the first row of its group (itself, if it is that or stands alone), among these rows."""
    first = np.arange(len(among))
    members = np.flatnonzero(among)
    pairs = [np.zeros((2, 0), np.int64), *_pairs(signatures, members)]
    left, right = np.concatenate(pairs, axis=1)
    links = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(len(among), len(among)))
    _, group = connected_components(links, directed=False)
    _, leader, own = np.unique(group[members], return_index=True, return_inverse=True)
    first[members] = members[leader][own]
    return first


def _pairs(signatures: NDArray[np.uint32], members: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Similar pairs, band by band: in each bucket, every row with the first one and with the one before it."""
    if not len(members):
        return
    for band in range(BANDS):
        rows = signatures[members, band * ROWS : (band + 1) * ROWS].astype(np.uint64)
        keys = np.zeros(len(rows), np.uint64)
        for column in rows.T:
            keys = (keys ^ column) * _MULTIPLIER
            keys ^= keys >> np.uint64(32)
        order = np.argsort(keys, kind="stable")
        same = keys[order[1:]] == keys[order[:-1]]
        neighbours = np.stack([order[:-1][same], order[1:][same]])
        leader = first_of_each(keys, np.ones(len(keys), np.bool_))
        led = np.flatnonzero(leader != np.arange(len(keys)))
        candidates = np.unique(np.concatenate([neighbours, np.stack([leader[led], led])], axis=1), axis=1)
        yield members[candidates[:, _alike(signatures, members[candidates])]]


def _alike(signatures: NDArray[np.uint32], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    out = np.zeros(pairs.shape[1], np.bool_)
    for start in range(0, len(out), 2**16):
        left, right = pairs[:, start : start + 2**16]
        out[start : start + 2**16] = (signatures[left] == signatures[right]).mean(axis=1) >= ALIKE
    return out
