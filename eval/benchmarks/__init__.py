"""Benchmarks: named sets of tasks that a checkpoint is measured on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rollout.families import Task, TaskSet
from rollout.trajectory import digest_of


class Benchmark(BaseModel):
    """A name and the tasks behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "procedural-heldout"
    """Shown in results; the digest of the tasks tells versions apart."""
    tasks: TaskSet = TaskSet(split="heldout", count=60)
    """The tasks, each asked once."""


def benchmark_digest(tasks: list[Task]) -> str:
    """Changes when any task's prompt, data, tools or answer does."""
    return digest_of([task.ref.digest for task in tasks])
