"""Decontamination: training records that contain an evaluation prompt.

Contract: a record is contaminated when ``words`` consecutive words of some prompt occur in one of its turns. Words are
runs of letters and digits, lower-cased; blanks, punctuation and mark-up do not count. A prompt with fewer words is
matched as a whole. One with fewer than ``MIN_WORDS`` words is too common and is not checked; the ledger counts these.
N-grams that more than ``MAX_PROMPTS_PER_NGRAM`` different prompts of a set share are boilerplate and are ignored. Rule
and numbers follow Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C: 13 words, at least 8, more
than 10 times.

Cost: 24 bytes of memory per n-gram of the prompts; one hash per n-gram of the records. N-grams are compared by 64-bit
hashes: among a million prompt n-grams and ten billion record n-grams, a false match is expected once in 2,000 corpora.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.prepare import EvaluationPrompts
from codeact_train.data.ledger import PromptStats
from codeact_train.data.records import read_lines
from codeact_train.prepare.near_duplicates import ngram_hashes
from codeact_train.prepare.row_schema import digest64

MIN_WORDS = 8
MAX_PROMPTS_PER_NGRAM = 10

_WORD = re.compile(r"[^\W_]+")


class PromptFilter:
    """The n-grams of words that no training record may contain."""

    def __init__(self, sets: Sequence[EvaluationPrompts], words: int):
        """Raises ``ValueError`` when a file or the field is missing, or two sets have the same name."""
        self.words = words
        self.stats: dict[str, PromptStats] = {}
        runs: dict[int, list[NDArray[np.uint64]]] = {}  # by length in words: rows of hash, set, line
        self._names = [prompt_set_name(one) for one in sets]
        if twice := [name for name in self._names if self._names.count(name) > 1]:
            raise ValueError(
                f"prepare.decontaminate: {twice[0]} is listed twice; list each set once, with a distinct name"
            )
        for index, one in enumerate(sets):
            for length, found in self._read(index, one).items():
                runs.setdefault(length, []).append(found)
        self._runs = {length: _sorted(np.concatenate(found)) for length, found in sorted(runs.items())}

    def _read(self, index: int, one: EvaluationPrompts) -> dict[int, NDArray[np.uint64]]:
        """The n-grams of one set, by their length in words."""
        path, name = Path(one.path), self._names[index]
        if not path.is_file():
            raise ValueError(f"prepare.decontaminate: no file {path}; give the prompts as JSON Lines")
        stats = self.stats[name] = PromptStats()
        runs: dict[int, list[NDArray[np.uint64]]] = {}
        seen: set[int] = set()  # a prompt that a set repeats counts once
        for number, raw in read_lines(path):
            hashes = _word_hashes(_words(_prompt(raw, one.field, f"{path}, line {number}")))
            stats.prompts += 1
            if len(hashes) < MIN_WORDS:
                stats.too_short += 1
                continue
            if (prompt := digest64(hashes.tobytes())) in seen:
                continue
            seen.add(prompt)
            found = np.unique(ngram_hashes(hashes, self.words))
            entries = np.full((len(found), 3), (0, index, number), np.uint64)
            entries[:, 0] = found
            runs.setdefault(min(self.words, len(hashes)), []).append(entries)
        own = {length: _drop_common(np.concatenate(found)) for length, found in runs.items()}
        return {length: left for length, left in own.items() if len(left)}

    def find(self, texts: Sequence[str]) -> str | None:
        """The first match in these texts: the words, and the prompt they come from; ``None`` without a match."""
        if not self._runs:
            return None
        for text in texts:
            words = _words(text)
            hashes = _word_hashes(words)
            for length, runs in self._runs.items():
                if len(hashes) < length:
                    continue
                here = ngram_hashes(hashes, length)
                positions = np.minimum(np.searchsorted(runs[:, 0], here), len(runs) - 1)
                hits = np.flatnonzero(runs[positions, 0] == here)
                if len(hits):
                    start = int(hits[0])
                    _, index, line = runs[positions[start]].tolist()
                    matched = " ".join(words[start : start + length])
                    return f"{length} words of {self._names[index]}, line {line}: {matched}"
        return None


def prompt_set_name(one: EvaluationPrompts) -> str:
    """Name of a set in the ledger: folder and file, because file names alone often repeat."""
    return "/".join(Path(one.path).parts[-2:])


def _prompt(raw: bytes, field: str, where: str) -> str:
    try:
        prompt = json.loads(raw)[field]
    except (ValueError, KeyError, TypeError):
        prompt = None
    if not isinstance(prompt, str):
        raise ValueError(f"prepare.decontaminate: {where} has no text under '{field}'; set field to the prompts' key")
    return prompt


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _word_hashes(words: list[str]) -> NDArray[np.uint64]:
    return np.array([_word_hash(word) for word in words], np.uint64)


@lru_cache(maxsize=2**18)
def _word_hash(word: str) -> int:
    return digest64(word.encode())


def _drop_common(runs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Remove the n-grams that occur in more than ``MAX_PROMPTS_PER_NGRAM`` prompts of a set."""
    _, group, counts = np.unique(runs[:, 0], return_inverse=True, return_counts=True)
    return runs[counts[group] <= MAX_PROMPTS_PER_NGRAM]


def _sorted(runs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return runs[np.argsort(runs[:, 0], kind="stable")]
