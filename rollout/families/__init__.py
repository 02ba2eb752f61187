"""Tasks and task families. :func:`load_tasks` finds a family by name in :data:`rollout.registry.TASK_FAMILIES`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rollout.families.base import Demonstration, Snapshot, Task, TaskFamily, TaskSet, Toolset, load_tasks
from rollout.families.calling_expert import Call, CallingExpert, Player, answer_turn, call_turn, cell_turn
from rollout.families.data import DataFamily, DataRoot, MissingDataError
from rollout.families.task_list import read_task_list, task_list_lines
from rollout.registry import TASK_FAMILIES

if TYPE_CHECKING:
    from rollout.families.data.fetch import Fetched

__all__ = [
    "Call",
    "CallingExpert",
    "Demonstration",
    "MissingDataError",
    "Player",
    "Snapshot",
    "Task",
    "TaskFamily",
    "TaskSet",
    "Toolset",
    "answer_turn",
    "call_turn",
    "cell_turn",
    "data_families",
    "data_family",
    "fetch_family",
    "load_tasks",
    "read_task_list",
    "task_list_lines",
]


def data_families() -> dict[str, DataFamily]:
    """Name → each registered family that reads a data set, sorted by name."""
    parts = {name: TASK_FAMILIES.get(name) for name in TASK_FAMILIES.names()}
    return {name: part for name, part in parts.items() if isinstance(part, DataFamily)}


def data_family(name: str) -> DataFamily:
    """The family of this name.

    Raises:
        ValueError: it is not registered, or reads no data set.
    """
    part = TASK_FAMILIES.get(name)
    if not isinstance(part, DataFamily):
        raise ValueError(f"the family {name!r} reads no data set; those that do: {', '.join(data_families())}")
    return part


def fetch_family(
    name: str, split: str | None = None, data_root: Path | None = None, *, from_hub: bool = False
) -> Iterator[Fetched]:
    """Downloads the files of a family, or of one of its splits, that are not in the data root.

    Raises:
        ValueError: the family or the split does not exist, or a file cannot be fetched.
    """
    from rollout.families.data.fetch import fetch_source

    family = data_family(name)
    if split is not None and split not in family.info.splits:
        raise ValueError(f"{split!r} is not a split of {name}; choose from: {', '.join(family.info.splits)}")
    chosen = [split] if split else list(family.info.sources)
    for source in dict.fromkeys(source for one in chosen for source in family.info.sources.get(one, ())):
        yield fetch_source(source, DataRoot(data_root), from_hub=from_hub)
