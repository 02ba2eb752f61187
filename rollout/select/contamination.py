"""Decontamination: episodes of evaluation tasks, and episodes that contain the prompt of one.

Contract: an episode is dropped when its task is an evaluation task (by family, split and id, or by digest), or when
``words`` consecutive words of an evaluation prompt occur in one of its messages. Prompts of fewer words are matched as
a whole; those of fewer than ``MIN_WORDS`` are too common and not compared. Runs of words in the prompts of more than
``MAX_TASKS`` tasks of a set are boilerplate and ignored. The instructions of an episode are not compared.
Rule and numbers: Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C.

Cost: 16 bytes of memory per run of words of the prompts; one hash per run of words of the episodes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollout.bank.trajectory import Trajectory
from rollout.families import Task
from rollout.select.config import DecontaminationSettings
from rollout.select.evaluation_sets import evaluation_tasks
from rollout.select.turns import said
from rollout.select.words import ngram_hashes, word_hashes, words_of

MIN_WORDS = 8
MAX_TASKS = 10

Runs = tuple[NDArray[np.uint64], NDArray[np.int64]]
"""Hashes in ascending order, and the number of the set of each."""


class Contamination:
    """Finds episodes that contain evaluation tasks."""

    def __init__(self, settings: DecontaminationSettings) -> None:
        """Raises ``ValueError`` when the tasks cannot be read (:func:`evaluation_tasks`)."""
        tasks = evaluation_tasks(settings)
        self._names = list(tasks.sets)
        self._counts = {name: len(found) for name, found in tasks.sets.items()}
        self._missing = tasks.missing
        refs = [task.ref for found in tasks.sets.values() for task in found]
        self._digests = {ref.digest for ref in refs}
        self._places = {(ref.family, ref.split, ref.id) for ref in refs} | tasks.listed
        self._listed = len(tasks.listed)
        self._runs = _by_length([_prompt_runs(found, settings.words) for found in tasks.sets.values()])

    def reject(self, trajectory: Trajectory) -> str | None:
        """Why an episode is dropped, or None."""
        task = trajectory.task
        if task.digest in self._digests or (task.family, task.split, task.id) in self._places:
            return "task of an evaluation set"
        for text in said(trajectory):
            hashes = word_hashes(words_of(text))
            for length, (known, owners) in self._runs.items():
                if len(hashes) < length:
                    continue
                here = ngram_hashes(hashes, length)
                places = np.minimum(np.searchsorted(known, here), len(known) - 1)
                hits = np.flatnonzero(known[places] == here)
                if len(hits):
                    return f"contains a prompt of {self._names[owners[places[hits[0]]]]}"
        return None

    def summary(self) -> dict[str, Any]:
        """The number of tasks compared with, by set, and the sets that are not on this machine."""
        return {"compared": self._counts, "listed_tasks": self._listed, "not_compared": self._missing}


def _prompt_runs(tasks: list[Task], words: int) -> dict[int, NDArray[np.uint64]]:
    """The runs of words of the prompts of one set, by their length, without boilerplate."""
    by_length: dict[int, list[NDArray[np.uint64]]] = {}
    for prompt, count in Counter(task.prompt for task in tasks).items():
        hashes = word_hashes(words_of(prompt))
        if len(hashes) >= MIN_WORDS and count <= MAX_TASKS:
            own = np.unique(ngram_hashes(hashes, words))
            by_length.setdefault(min(words, len(hashes)), []).extend([own] * count)
    found = {}
    for length, runs in by_length.items():
        values, counts = np.unique(np.concatenate(runs), return_counts=True)
        found[length] = values[counts <= MAX_TASKS]
    return found


def _by_length(sets: list[dict[int, NDArray[np.uint64]]]) -> dict[int, Runs]:
    merged: dict[int, Runs] = {}
    for length in sorted({length for one in sets for length in one}):
        hashes = np.concatenate([one[length] for one in sets if length in one])
        owners = np.concatenate([np.full(len(one[length]), at) for at, one in enumerate(sets) if length in one])
        order = np.argsort(hashes, kind="stable")
        if len(order):
            merged[length] = (hashes[order], owners[order])
    return merged
