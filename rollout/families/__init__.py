"""Tasks and task families. :func:`load_tasks` finds a family by name in :data:`rollout.registry.TASK_FAMILIES`."""

from rollout.families.base import Demonstration, Task, TaskFamily, TaskSet, Toolset, load_tasks
from rollout.families.data import DataFamily
from rollout.registry import TASK_FAMILIES

__all__ = ["Demonstration", "Task", "TaskFamily", "TaskSet", "Toolset", "data_families", "load_tasks"]


def data_families() -> dict[str, DataFamily]:
    """Name → each registered family that reads a data set, sorted by name."""
    parts = {name: TASK_FAMILIES.get(name) for name in TASK_FAMILIES.names()}
    return {name: part for name, part in parts.items() if isinstance(part, DataFamily)}
