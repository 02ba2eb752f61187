"""Finds the reference of a stored task in its family, for records that do not hold it.

Contract: a reference is given only for a task with the digest of the stored one: another version of the task may have
another answer. Families and task sets are loaded when they are first needed, once each; one whose data are not on this
machine has no references.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rollout.bank.trajectory import TaskRef
from rollout.families.base import Task, TaskSet, load_tasks
from rollout.registry import TASK_FAMILIES

Reference = tuple[str, str]
"""A grader's name and the reference that it reads."""


class TaskReferences:
    """Call it with a task's identity; it returns the grader and the reference, or None."""

    def __init__(self, task_sets: Sequence[TaskSet] = (), data_root: Path | None = None) -> None:
        """``task_sets``: those that the episodes were collected from; ``data_root``: folder of data sets."""
        self._task_sets, self._data_root = list(task_sets), data_root
        self._known: dict[str, Reference] = {}
        self._loaded: set[tuple[str, str]] = set()

    def __call__(self, task: TaskRef) -> Reference | None:
        """Grader and reference of the task with this digest."""
        for chosen in [chosen for chosen in self._task_sets if chosen.family == task.family]:
            self._task_sets.remove(chosen)
            self._add(load_tasks(chosen))
        if task.digest not in self._known and (task.family, task.split) not in self._loaded:
            self._loaded.add((task.family, task.split))
            self._load(task.family, task.split)
        return self._known.get(task.digest)

    def _load(self, family: str, split: str) -> None:
        try:
            generate = TASK_FAMILIES.get(family)
            if hasattr(generate, "load"):  # a family with a data set
                self._add(generate.load(split, self._data_root).tasks)
        except ValueError:  # an unknown family, or data that are not here
            return

    def _add(self, tasks: Sequence[Task]) -> None:
        self._known.update((task.ref.digest, (task.grader, task.answer)) for task in tasks)
