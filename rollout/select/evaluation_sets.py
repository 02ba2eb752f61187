"""The evaluation tasks that no record may contain.

Contract: the tasks come from sets of a configuration, or from every data set on this machine: each split of a family
without ``train`` in its name. A family whose files or packages are not here is listed as not compared; a
family without files (``procedural``) keeps its own splits apart. Tasks of an installed package alone are not enough:
without any file of a data set the path to them is more likely wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from rollout.families import Task, TaskSet, load_tasks, read_task_list
from rollout.families.data import MissingDataError
from rollout.registry import TASK_FAMILIES
from rollout.select.config import DecontaminationSettings


@dataclass
class EvaluationTasks:
    """Tasks by set, further tasks by family, split and id, and what could not be compared, with the reason."""

    sets: dict[str, list[Task]] = field(default_factory=dict)
    listed: set[tuple[str, str, str]] = field(default_factory=set)
    missing: dict[str, str] = field(default_factory=dict)


def evaluation_tasks(settings: DecontaminationSettings) -> EvaluationTasks:
    """The evaluation tasks of a configuration.

    Raises:
        ValueError: a list or a set that the configuration names cannot be read, or ``all`` finds no files of data.
    """
    found = EvaluationTasks()
    for path in settings.lists:
        found.listed.update(read_task_list(path))
    if settings.sets != "all":
        for one in settings.sets:
            found.sets.setdefault(f"{one.family}/{one.split}", []).extend(load_tasks(one))
        return found
    of_files = False
    for family, split, has_files in _evaluation_splits(settings.leave_out, found):
        name = f"{family}/{split}"
        try:
            found.sets[name] = load_tasks(TaskSet(family=family, split=split, count=None, data_root=settings.data_root))
            of_files |= has_files
        except MissingDataError:
            found.missing[name] = "its data are not on this machine"
        except ImportError as fault:
            found.missing[name] = f"the package {fault.name} is not installed"
        except ValueError as fault:  # such as a family whose options have no default
            found.missing[name] = f"it cannot be read: {fault}"
    if not of_files and not found.listed:
        raise ValueError(
            "select.decontaminate: there is no evaluation set on this machine; set CODEACT_DATA (or "
            "select.decontaminate.data_root) to the folder of your data sets, or name sets or lists"
        )
    return found


def _evaluation_splits(leave_out: tuple[str, ...], found: EvaluationTasks) -> Iterator[tuple[str, str, bool]]:
    """Family, split, and whether its tasks are read from files of a data set."""
    for name in TASK_FAMILIES.names():
        try:
            family = TASK_FAMILIES.get(name)
        except ImportError as fault:
            found.missing[name] = f"the package {fault.name} is not installed"
            continue
        info = getattr(family, "info", None)
        if info is None or not hasattr(family, "read"):
            continue
        for split in info.splits:
            full = f"{name}/{split}"
            if "train" not in split and not any(fnmatchcase(full, pattern) for pattern in leave_out):
                yield name, split, bool(info.sources)
