"""Benchmarks: named sets of tasks that a checkpoint is measured on.

Contract: a benchmark is a name with a :class:`~rollout.families.TaskSet`, or a name registered in :data:`BENCHMARKS`,
which also reads the entry points of installed packages. Its digest is that of its tasks.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator

from rollout import Registry, Task, TaskSet, digest_of, load_tasks

BENCHMARKS = Registry("codeact.benchmarks", "benchmark", {"procedural-heldout": "eval.benchmarks:procedural_heldout"})
"""Benchmark name → ``tasks() -> list[Task]``, the same tasks in the same order at each call."""


class Benchmark(BaseModel):
    """A name and the tasks behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = "procedural-heldout"
    """Shown in results; the digest of the tasks identifies the version."""
    tasks: TaskSet | None = None
    """The tasks, each attempted once; null: those of the registered benchmark of this name."""

    @model_validator(mode="after")
    def _check_registered(self) -> Benchmark:
        if self.tasks is None:
            BENCHMARKS.check(self.name)
        return self

    def load(self) -> list[Task]:
        """Its tasks."""
        return BENCHMARKS.get(self.name)() if self.tasks is None else load_tasks(self.tasks)


def procedural_heldout() -> list[Task]:
    """60 tasks of the held-out split of the built-in family."""
    return load_tasks(TaskSet(split="heldout", count=60))


def benchmark_digest(tasks: list[Task]) -> str:
    """Changes when any task's prompt, data, tools or answer does."""
    return digest_of([task.ref.digest for task in tasks])
