"""What a benchmark fixes for a fair measurement: its tasks, protocols, sampling, and where it comes from.

Contract: a :class:`BenchmarkSpec` is a value. It names a :class:`rollout.TaskSet`, so its tasks are those of a task
family, and its data are found as those of any family are. It runs nothing and reads nothing before :meth:`load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rollout import Sampling, Task, TaskSet, load_tasks

GREEDY = Sampling(max_tokens=512)


@dataclass(frozen=True)
class BenchmarkSpec:
    """A registered benchmark.

    Attributes:
        title: its name in words, with the paper.
        licence: licence of the data.
        tasks: the tasks; ``data_root`` is left open.
        protocols: how its episodes are run: a name for the variant, such as ``code``, and the protocol's name. The
            first is the default.
        sampling: how completions are drawn when the configuration does not say.
        samples: episodes of each task.
        defects: known defects of the original, and what is done about each.
        size: number of tasks of the original.
    """

    title: str
    licence: str
    tasks: TaskSet
    protocols: Mapping[str, str]
    size: int
    sampling: Sampling = GREEDY
    samples: int = 1
    defects: tuple[str, ...] = field(default=())

    def load(self, data_root: Path | None = None) -> list[Task]:
        """Its tasks. Raises :class:`rollout.families.MissingDataError` when the data are not on this machine."""
        chosen = self.tasks if data_root is None else self.tasks.model_copy(update={"data_root": data_root})
        return load_tasks(chosen)

    @property
    def protocol(self) -> str:
        """Name of the default protocol."""
        return next(iter(self.protocols.values()))
