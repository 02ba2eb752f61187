"""Tasks and task families. :func:`load_tasks` finds a family by name in :data:`rollout.registry.TASK_FAMILIES`."""

from rollout.families.base import Demonstration, Task, TaskFamily, TaskSet, Toolset, load_tasks

__all__ = ["Demonstration", "Task", "TaskFamily", "TaskSet", "Toolset", "load_tasks"]
