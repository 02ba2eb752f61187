"""Tiers of difficulty: easy and medium episodes, hard tasks.

Contract (paper, section 3.1; the published notebook that splits the runs): an episode that solved its task is ``easy``
with at most ``easy_turns`` assistant turns, else ``medium``. A task is ``hard`` when no episode solved it; so is every
episode of such a task. A failed episode of a task that another one solved has no tier. Tasks are compared by digest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from rollout.bank.trajectory import TaskRef, Trajectory
from rollout.select.config import Tier, TierSettings
from rollout.select.turns import count_turns


class Tiers:
    """The tiers of a collection."""

    def __init__(self, everything: Sequence[Trajectory], settings: TierSettings) -> None:
        self._settings = settings
        self._everything = everything
        deciding = [t for t in everything if self._decides(t)]
        solved = {t.task.digest for t in deciding if t.outcome.success}
        tasks = {t.task.digest: t.task for t in deciding if t.task.digest not in solved}
        self.hard_tasks: list[TaskRef] = sorted(tasks.values(), key=lambda task: (task.family, task.split, task.id))
        """Tasks that no deciding model has solved."""
        self._hard = set(tasks)

    def of(self, trajectory: Trajectory) -> Tier | None:
        """The tier of an episode."""
        if trajectory.outcome.success:
            return "easy" if count_turns(trajectory) <= self._settings.easy_turns else "medium"
        return "hard" if trajectory.task.digest in self._hard else None

    def reject(self, trajectory: Trajectory) -> str | None:
        """Why an episode is dropped, or None."""
        tier = self.of(trajectory)
        if tier in self._settings.keep:
            return None
        return f"tier {tier}" if tier else "failed at a task that others solved"

    def summary(self) -> dict[str, Any]:
        """Episodes and different tasks of the tiers, as the paper counts them; of ``hard``, tasks by family."""
        counted: dict[str, Any] = {}
        for tier in ("easy", "medium"):
            digests = [t.task.digest for t in self._everything if self.of(t) == tier]
            counted[tier] = {"episodes": len(digests), "tasks": len(set(digests))}
        families = Counter(task.family for task in self.hard_tasks)
        counted["hard"] = {"tasks": len(self.hard_tasks), "by_family": dict(sorted(families.items()))}
        return counted

    def _decides(self, trajectory: Trajectory) -> bool:
        patterns = self._settings.models
        return not patterns or any(fnmatchcase(trajectory.model, pattern) for pattern in patterns)
