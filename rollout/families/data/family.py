"""The base class of families that read a data set.

Contract: a family reads every task of a split in the order of its files. A row that cannot be asked (no answer, an
unreadable table) is a :class:`Refused` with its reason; it is counted and never silently dropped. The choice of
``count`` tasks depends on the seed alone.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from rollout.families.base import Task
from rollout.families.data.source import DataRoot, DataSource, MissingDataError


@dataclass(frozen=True)
class Refused:
    """A row of a data set that is no task. ``reason`` is a few words, the same for all rows of its kind."""

    id: str
    reason: str


@dataclass(frozen=True)
class Loaded:
    """The tasks of a split, and the number of refused rows by reason."""

    tasks: list[Task]
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Preset:
    """A choice of a family's tasks, in an order.

    Attributes:
        split: the split that it chooses from.
        count: number of tasks on the original's files.
        rule: which tasks, and in which order; what of the original's order is not known.
    """

    split: str
    count: int
    rule: str


@dataclass(frozen=True)
class FamilyInfo:
    """What a person should know of a family; the reference of families is made from it.

    Attributes:
        title: name of the data set, with its paper.
        licence: licence of the data.
        splits: split → what it is, with the original's number of rows.
        sources: split → the files that it is read from.
        grader: name of the registered grader.
        graders: split → its grader, where that is another one.
        protocol: name of the protocol that fits best.
        tools: names of the functions offered to cells.
        defects: known defects of the original, and what is done about each.
        presets: named choices of tasks, such as ``paper``.
    """

    title: str
    licence: str
    splits: Mapping[str, str]
    sources: Mapping[str, tuple[DataSource, ...]]
    grader: str
    protocol: str = "codeact"
    tools: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    presets: Mapping[str, Preset] = field(default_factory=dict)
    graders: Mapping[str, str] = field(default_factory=dict)


_mentioned: set[str] = set()


def _mention(name: str, loaded: Loaded) -> None:
    """Says once on standard error which rows of a data set are no tasks."""
    if loaded.refused and name not in _mentioned:
        _mentioned.add(name)
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(loaded.refused.items()))
        rows = "1 row is no task" if loaded.refused.total() == 1 else f"{loaded.refused.total():,} rows are no tasks"
        print(f"{name}: {rows} and left out: {reasons}", file=sys.stderr)


class DataFamily(ABC):
    """A family that reads a data set. Subclasses set ``name`` and ``info`` and write :meth:`read`."""

    name: ClassVar[str]
    info: ClassVar[FamilyInfo]

    @abstractmethod
    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        """Every row of a split, in the order of the files.

        Raises:
            MissingDataError: a file is not on this machine.
        """

    def with_options(self, options: Mapping[str, Any]) -> DataFamily:
        """The family with the options of ``tasks.options``. Raises ValueError for those that it does not have."""
        raise ValueError(f"tasks.options: {self.name} has no options; take {', '.join(options)} out")

    def read_preset(self, preset: str, root: DataRoot) -> Iterator[Task | Refused]:
        """The rows that a preset of ``info.presets`` chooses, in its order: by default its whole split.

        Raises:
            MissingDataError: a file is not on this machine.
        """
        return self.read(self.info.presets[preset].split, root)

    def grader(self, split: str) -> str:
        """Name of the grader of a split."""
        return self.info.graders.get(split, self.info.grader)

    def task(
        self,
        split: str,
        name: str,
        prompt: str,
        answer: Any,
        kind: str | None = None,
        group: str | None = None,
        **more: Any,
    ) -> Task:
        """A task of this family.

        Args:
            split: its split, also its group by default.
            name: its id.
            answer: in the form that the grader of the split reads; what is no text is written as JSON.
            kind: by default the family's name.
            more: further fields of :class:`rollout.families.Task`.
        """
        return Task(
            family=self.name,
            kind=kind or self.name,
            split=split,
            group=group or split,
            id=name,
            prompt=prompt,
            answer=answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False),
            grader=self.grader(split),
            **more,
        )

    def check_split(self, split: str) -> None:
        """Raises ValueError when the family has no such split."""
        if split not in self.info.splits:
            known = ", ".join(self.info.splits)
            raise ValueError(f"tasks.split: {split!r} is not a split of {self.name}; choose from: {known}")

    def splits(self, data_root: Path | None = None) -> list[str]:
        """Names of its splits."""
        return list(self.info.splits)

    def check_installed(self) -> None:  # noqa: B027  # most families need nothing
        """Raises MissingDataError when a package or program that the tasks need is not on this machine."""

    def is_here(self, split: str, data_root: Path | None = None) -> bool:
        """Whether the files of a split, and what its tasks need besides, are on this machine."""
        root = DataRoot(data_root)
        try:
            self.check_installed()
            for source in self.info.sources.get(split, ()):
                root.find(source)
        except MissingDataError:
            return False
        return True

    def load(self, split: str, data_root: Path | None = None, preset: str | None = None) -> Loaded:
        """Every task of a split, or of a preset.

        Raises:
            MissingDataError: a file is not on this machine.
            ValueError: the split or the preset does not exist.
        """
        self.check_split(split)
        if preset is not None and preset not in self.info.presets:
            known = ", ".join(self.info.presets) or "there are none"
            raise ValueError(f"tasks.preset: {preset!r} is not a preset of {self.name}; choose from: {known}")
        if preset is not None and split != (own := self.info.presets[preset].split):
            raise ValueError(
                f"tasks.split: the preset {preset!r} of {self.name} chooses from {own}; write split: {own}"
            )
        loaded, root = Loaded([]), DataRoot(data_root)
        for row in self.read_preset(preset, root) if preset else self.read(split, root):
            if isinstance(row, Refused):
                loaded.refused[row.reason] += 1
            else:
                loaded.tasks.append(row)
        return loaded

    def __call__(
        self,
        split: str,
        count: int | None,
        seed: int,
        kinds: tuple[str, ...] | None = None,
        data_root: Path | None = None,
        preset: str | None = None,
    ) -> list[Task]:
        """``count`` tasks of a split or preset drawn with a seed, in the order of the files; None: all of them.

        Raises:
            MissingDataError: a file is not on this machine.
            ValueError: the split, the preset or a kind does not exist.
        """
        loaded = self.load(split, data_root, preset)
        _mention(f"{self.name}/{split}", loaded)
        tasks = loaded.tasks
        chosen_kinds = checked_kinds(kinds, {task.kind for task in tasks})
        tasks = [task for task in tasks if task.kind in chosen_kinds]
        if count is None or count >= len(tasks):
            return tasks
        chosen = sorted(Random(f"{self.name}/{split}/{seed}").sample(range(len(tasks)), count))
        return [tasks[index] for index in chosen]


def checked_kinds(kinds: tuple[str, ...] | None, known: Iterable[str]) -> list[str]:
    """The chosen kinds, sorted; all when none is chosen. Raises ValueError for a kind that is not known."""
    if unknown := set(kinds or ()) - set(known):
        raise ValueError(f"tasks.kinds: {sorted(unknown)} are not kinds; choose from: {', '.join(sorted(known))}")
    return sorted(set(kinds) if kinds else set(known))
