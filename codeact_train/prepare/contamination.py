"""Training records that contain an evaluation prompt.

Contract, the rule: a record is contaminated when ``words`` words in a row of some prompt stand in one of its turns.
Words are runs of letters and digits, lower-cased; blanks, punctuation and mark-up do not count. A prompt with fewer
words counts as a whole; one with fewer than ``FEWEST`` is too common to tell and is not checked, which the ledger says.
Runs that more than ``COMMON`` different prompts of a set share are wording and not content, and are left out. Rule and
numbers follow Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C: 13 words, at least 8, more than
10 times.

Cost: memory of 24 bytes a run of words in the prompts; a hash of each run in the records. Runs are compared by 64-bit
hashes: among a million prompt runs and ten billion record runs a false match is expected once in 2,000 corpora.
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
from codeact_train.data.ledger import PromptAccount
from codeact_train.data.records import read_lines
from codeact_train.prepare.near_duplicates import run_hashes
from codeact_train.prepare.row_schema import digest64

FEWEST = 8
COMMON = 10

_WORD = re.compile(r"[^\W_]+")


class Screen:
    """The runs of words that no training record may contain."""

    def __init__(self, sets: Sequence[EvaluationPrompts], words: int):
        """Raises ``ValueError`` when a file or the field is missing, or two sets have one name."""
        self.words = words
        self.accounts: dict[str, PromptAccount] = {}
        runs: dict[int, list[NDArray[np.uint64]]] = {}  # by length in words: rows of hash, set, line
        self._names = [set_name(one) for one in sets]
        if twice := [name for name in self._names if self._names.count(name) > 1]:
            raise ValueError(
                f"prepare.decontaminate: {twice[0]} is listed twice; list each set once, under its own name"
            )
        for index, one in enumerate(sets):
            for length, found in self._read(index, one).items():
                runs.setdefault(length, []).append(found)
        self._runs = {length: _sorted(np.concatenate(found)) for length, found in sorted(runs.items())}

    def _read(self, index: int, one: EvaluationPrompts) -> dict[int, NDArray[np.uint64]]:
        """The runs of one set, by their length in words."""
        path, name = Path(one.path), self._names[index]
        if not path.is_file():
            raise ValueError(f"prepare.decontaminate: {path} is not there; give the prompts as JSON Lines")
        account = self.accounts[name] = PromptAccount()
        runs: dict[int, list[NDArray[np.uint64]]] = {}
        asked: set[int] = set()  # a set may ask each prompt many times, which makes none of them common
        for number, raw in read_lines(path):
            hashes = _word_hashes(_words(_prompt(raw, one.field, f"{path}, line {number}")))
            account.prompts += 1
            if len(hashes) < FEWEST:
                account.too_short += 1
                continue
            if (prompt := digest64(hashes.tobytes())) in asked:
                continue
            asked.add(prompt)
            found = np.unique(run_hashes(hashes, self.words))
            place = np.full((len(found), 3), (0, index, number), np.uint64)
            place[:, 0] = found
            runs.setdefault(min(self.words, len(hashes)), []).append(place)
        own = {length: _without_common(np.concatenate(found)) for length, found in runs.items()}
        return {length: left for length, left in own.items() if len(left)}

    def find(self, texts: Sequence[str]) -> str | None:
        """What is found in the first of these texts that contains a run: the words, and the prompt they are from."""
        if not self._runs:
            return None
        for text in texts:
            words = _words(text)
            hashes = _word_hashes(words)
            for length, runs in self._runs.items():
                if len(hashes) < length:
                    continue
                here = run_hashes(hashes, length)
                places = np.minimum(np.searchsorted(runs[:, 0], here), len(runs) - 1)
                hits = np.flatnonzero(runs[places, 0] == here)
                if len(hits):
                    start = int(hits[0])
                    _, index, line = runs[places[start]].tolist()
                    said = " ".join(words[start : start + length])
                    return f"{length} words of {self._names[index]}, line {line}: {said}"
        return None


def set_name(one: EvaluationPrompts) -> str:
    """What the ledger calls a set: files are often called alike, folders are not."""
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


def _without_common(runs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Without the runs that stand in more than ``COMMON`` prompts of a set."""
    _, group, counts = np.unique(runs[:, 0], return_inverse=True, return_counts=True)
    return runs[counts[group] <= COMMON]


def _sorted(runs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return runs[np.argsort(runs[:, 0], kind="stable")]
