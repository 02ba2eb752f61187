"""Task families. One module or package a family; :func:`load_tasks` finds them by name."""

from rollout.families.base import Task, TaskSet, load_tasks

__all__ = ["Task", "TaskSet", "load_tasks"]
