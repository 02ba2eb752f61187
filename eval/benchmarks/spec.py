"""What a benchmark fixes for a fair measurement: its tasks, protocols, sampling, and where it comes from.

Contract: a :class:`BenchmarkSpec` is a value. It names one :class:`rollout.TaskSet` or several, so its tasks are those
of task families, and its data are found as those of any family are. It runs nothing and reads nothing before
:meth:`load`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from eval.scale import ScoreScale
from rollout import Sampling, Task, TaskRef, TaskSet, load_tasks

GREEDY = Sampling(max_tokens=512)


@dataclass(frozen=True)
class BenchmarkSpec:
    """A registered benchmark.

    Attributes:
        title: its name in words, with the paper.
        licence: licence of the data.
        tasks: the tasks, of one family or of several; ``data_root`` is left open.
        protocols: how its episodes are run: a name for the variant, such as ``code``, and the protocol's name. The
            first is the default.
        sampling: how completions are drawn when the configuration does not say.
        samples: episodes of each task.
        grader: judges the answers in place of the tasks' own grader, for protocols whose answers have another form.
        defects: known defects of the original, and what is done about each.
        size: number of tasks of the original.
        groups: family → row of the report, for tasks of several families; others are in the group of their task.
        temperatures: kind of task → temperature of its completions, in place of that of ``sampling``; a sampling in the
            configuration replaces these, too.
        score: the scale of its score, where the mean score is its figure or stands beside it; None: there is none. The
            rewards of its episodes are fractions of the scale.
    """

    title: str
    licence: str
    tasks: TaskSet | tuple[TaskSet, ...]
    protocols: Mapping[str, str]
    size: int
    sampling: Sampling = GREEDY
    samples: int = 1
    grader: str | None = None
    defects: tuple[str, ...] = field(default=())
    groups: Mapping[str, str] = field(default_factory=dict)
    score: ScoreScale | None = None
    temperatures: Mapping[str, float] = field(default_factory=dict)

    @property
    def task_sets(self) -> tuple[TaskSet, ...]:
        """The sets of tasks, in their order."""
        return self.tasks if isinstance(self.tasks, tuple) else (self.tasks,)

    @property
    def families(self) -> tuple[str, ...]:
        """The families of its tasks."""
        return tuple(dict.fromkeys(one.family for one in self.task_sets))

    def load(self, data_root: Path | None = None, families: Sequence[str] | None = None) -> list[Task]:
        """Its tasks.

        Args:
            families: only the tasks of these; None: all.

        Raises:
            MissingDataError: the data of a benchmark of one family are not on this machine.
            ValueError: a family is not one of the benchmark's, or some of several families cannot be loaded here.
        """
        if unknown := set(families or ()) - set(self.families):
            raise ValueError(f"families: {', '.join(sorted(unknown))}: choose from {', '.join(self.families)}")
        tasks: list[Task] = []
        faults: dict[str, ValueError] = {}
        for one in self.task_sets:
            if families is not None and one.family not in families:
                continue
            chosen = one if data_root is None else one.model_copy(update={"data_root": data_root})
            try:
                tasks += load_tasks(chosen)
            except ValueError as fault:
                if len(self.task_sets) == 1:
                    raise
                faults[one.family] = fault
        if faults:
            there = [name for name in families or self.families if name not in faults]
            rest = f"; set families: [{', '.join(there)}] to measure the others on purpose" if there else ""
            first = next(iter(faults.values()))
            raise ValueError(f"the tasks of {', '.join(faults)} cannot be loaded ({first}){rest}")
        return [replace(task, grader=self.grader) for task in tasks] if self.grader else tasks

    def place(self, task: TaskRef) -> dict[str, str]:
        """Id, kind and group of a task in results, where the benchmark has tasks of several families.

        Ids of different families may be the same, so the family precedes them. Its name is the kind.
        """
        if len(self.families) == 1:
            return {}
        return {
            "task_id": f"{task.family}/{task.id}",
            "kind": task.family,
            "group": self.groups.get(task.family, task.group),
        }

    @property
    def protocol(self) -> str:
        """Name of the default protocol."""
        return next(iter(self.protocols.values()))
