"""reasoning-gym: tasks without end from about a hundred generators (arXiv 2505.24760).

The package is optional: ``pip install 'codeact[reasoning-gym]'``. It pins versions of its dependencies, so an
environment of its own may be needed. A kind is a generator; a task belongs to the split that its question hashes to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count as numbers
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, FamilyInfo, MissingDataError, Refused, checked_kinds

_SHOWN = 5
"""Tasks of each kind that stand for the family where all tasks of a data set are meant."""
_HELDOUT_SHARE = 5
_MOST_TRIES = 50


class ReasoningGym(DataFamily):
    """The answer names generator, seed and number; the grader makes the entry again and uses the generator's score."""

    name: ClassVar[str] = "reasoning_gym"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="reasoning-gym (Stojanovski et al., 2025)",
        licence="Apache-2.0",
        splits={
            "train": "four of five tasks of each generator, without end",
            "heldout": "one of five tasks of each generator, without end",
        },
        sources={},
        grader="reasoning_gym",
        defects=(
            "A generator without a reference answer for an entry scores it all the same; such entries are refused, "
            "since nothing shows that they can be solved.",
            "Entries of another version of the package may differ; the version is part of the answer, and the grader "
            "gives no verdict under another one.",
        ),
    )

    def check_installed(self) -> None:
        """Looks for the package. Raises MissingDataError."""
        _package()

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        package = _package()
        for kind in kinds_of(package):
            yield from self._tasks(package, kind, split, 0, _SHOWN)

    def __call__(
        self,
        split: str,
        count: int | None,
        seed: int,
        kinds: tuple[str, ...] | None = None,
        data_root: Path | None = None,
        preset: str | None = None,
    ) -> list[Task]:
        """``count`` tasks, as many of each kind as of the others.

        Raises:
            MissingDataError: the package is not installed.
            ValueError: the split or a kind does not exist, or there is no count.
        """
        self.check_split(split)
        if count is None:
            raise ValueError(f"tasks.count: the family {self.name!r} has no end; give a number")
        package = _package()
        chosen = checked_kinds(kinds, kinds_of(package))
        each = -(-count // len(chosen))
        made = [list(self._tasks(package, kind, split, seed, each)) for kind in chosen]
        rows = [row for turn in zip(*made, strict=True) for row in turn]
        return [row for row in rows if isinstance(row, Task)][:count]

    def _tasks(self, package: ModuleType, kind: str, split: str, seed: int, count: int) -> Iterator[Task | Refused]:
        """``count`` rows of a kind."""
        entries = package.create_dataset(kind, seed=seed, size=count * _MOST_TRIES)
        found = 0
        for number in numbers():
            if found == count or number == count * _MOST_TRIES:
                return
            entry = entries[number]
            if split_of(entry["question"]) != split:
                continue
            found += 1
            name = f"{kind}-{seed}-{number}"
            if entry["answer"] is None:
                yield Refused(name, "no reference answer")
                continue
            known = {"dataset": kind, "seed": seed, "number": number, "answer": str(entry["answer"])}
            yield self.task(
                split,
                name,
                kind=kind,
                prompt=entry["question"],
                answer={**known, "version": package.__version__},
                solution=str(entry["answer"]),
            )


def split_of(question: str) -> str:
    """The split that a question belongs to."""
    return "train" if hashlib.sha256(question.encode()).digest()[0] % _HELDOUT_SHARE else "heldout"


def kinds_of(package: Any) -> list[str]:
    """Names of the generators; ``composite``, which mixes others, is none."""
    return sorted(set(package.factory.DATASETS) - {"composite"})


def _package() -> ModuleType:
    try:
        import reasoning_gym
    except ImportError as fault:
        raise MissingDataError(
            f"the family reasoning_gym needs the package reasoning-gym ({fault}); pip install 'codeact[reasoning-gym]'"
        ) from None
    return reasoning_gym


generate = ReasoningGym()
