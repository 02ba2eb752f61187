"""Hashes of words and of runs of words.

Contract: a hash depends on the text alone, on every machine. 64 bits: among a million n-grams of prompts and a billion
of episodes, a false match is expected once in 18,000 selections.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W_]+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def words_of(text: str) -> list[str]:
    """Runs of letters and digits, lower-cased; blanks, punctuation and mark-up do not count."""
    return _WORD.findall(text.lower())


def word_hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    """A hash of each word: uint64 [n]."""
    return np.array([_word_hash(word) for word in words], np.uint64)


def ngram_hashes(hashes: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """A hash of each ``length`` consecutive words, or of all if there are fewer: uint64 [max(n - length, 0) + 1]."""
    length = min(length, len(hashes))
    count = len(hashes) - length + 1
    total = np.zeros(count, np.uint64)
    for shift in range(length):  # a polynomial modulo 2^64, mixed so that low bits matter as much as high ones
        total = total * _MULTIPLIER + hashes[shift : shift + count] + np.uint64(1)
        total ^= total >> np.uint64(29)
    return total * _MULTIPLIER


@lru_cache(maxsize=2**18)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
