"""Near duplicates among the kept episodes.

Contract: an episode is a near duplicate of a kept one when the estimated Jaccard similarity of their shingles
(``SHINGLE_WORDS`` consecutive words; the instructions do not count, all episodes of a protocol share them) is at least
the threshold. The relation is not transitive: what resembles only dropped episodes stays.

The estimate (Broder 1997) is the share of equal entries of two MinHash signatures, with a standard error of 0.035 at a
similarity of 0.8; candidates come from datasketch's index. Cost: a millisecond and about 5 KB of memory an episode.
"""

from __future__ import annotations

import numpy as np
from datasketch import MinHash, MinHashLSH

from rollout.bank.trajectory import Trajectory
from rollout.select.turns import said
from rollout.select.words import ngram_hashes, word_hashes

SHINGLE_WORDS = 5
HASHES = 128
_EMPTY = MinHash(HASHES, seed=1, hashfunc=int, scheme="affine32")


class NearDuplicates:
    """Finds episodes that nearly say what a kept one says."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        # candidates are asked for at a lower similarity, so that hardly any near duplicate is missed
        self._index = MinHashLSH(threshold=max(0.1, threshold - 0.15), num_perm=HASHES)
        self._signatures: dict[str, MinHash] = {}
        self._last: tuple[str, MinHash] | None = None

    def reject(self, trajectory: Trajectory) -> str | None:
        """Why an episode is dropped, or None."""
        signature = self._signature(trajectory)
        for name in self._index.query(signature):
            if signature.jaccard(self._signatures[name]) >= self._threshold:
                return "near duplicate"
        return None

    def kept(self, trajectory: Trajectory) -> None:
        """Later episodes are compared with this one."""
        signature = self._signature(trajectory)
        self._signatures[trajectory.id] = signature
        self._index.insert(trajectory.id, signature)

    def _signature(self, trajectory: Trajectory) -> MinHash:
        if self._last is None or self._last[0] != trajectory.id:
            hashes = word_hashes([word for text in said(trajectory) for word in text.split()])
            shingles = ngram_hashes(hashes, SHINGLE_WORDS) >> np.uint64(32)
            made = _EMPTY.copy()
            made.update_batch(shingles.tolist())
            self._last = (trajectory.id, made)
        return self._last[1]
