"""Files that list tasks, such as those that no model has solved.

Contract: a list is JSON Lines, one task a line: ``{"family", "kind", "split", "group", "id", "digest"}``, the task's
identity as stored with every trajectory. ``family``, ``split`` and ``id`` name the task; a ``digest`` that differs from
the task's means that the task has changed and is an error. Cost: one pass over the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from rollout.bank.trajectory import TaskRef

_NEEDED = ("family", "split", "id")


class _Task(Protocol):
    @property
    def ref(self) -> TaskRef: ...


AnyTask = TypeVar("AnyTask", bound=_Task)
Listed = dict[tuple[str, str, str], str | None]
"""Family, split and id of a task → its digest, or None where the list has none."""


def read_task_list(path: Path) -> Listed:
    """The tasks of a list.

    Raises:
        ValueError: the file is missing, or a line is not a task.
    """
    if not path.is_file():
        raise ValueError(f"tasks.only={path}: there is no such file; give a list of tasks, JSON Lines")
    listed: Listed = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            family, split, name = (row[key] for key in _NEEDED)
            digest = row.get("digest")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"tasks.only={path}: line {number} is no task; write "
                '{"family": ..., "split": ..., "id": ...}, one task a line'
            ) from None
        listed[str(family), str(split), str(name)] = digest
    return listed


def task_list_lines(tasks: Iterable[TaskRef]) -> str:
    """A list of these tasks, as the text of its file."""
    return "".join(json.dumps(task.model_dump(), ensure_ascii=False) + "\n" for task in tasks)


def only_listed(tasks: Sequence[AnyTask], path: Path) -> list[AnyTask]:
    """Those of the tasks that a list has, in their order.

    Raises:
        ValueError: the list has none of them, or a listed task has changed.
    """
    listed = read_task_list(path)
    kept = []
    for task in tasks:
        ref = task.ref
        place = (ref.family, ref.split, ref.id)
        if place not in listed:
            continue
        if listed[place] not in (None, ref.digest):
            raise ValueError(
                f"tasks.only={path}: {'/'.join(place)} has changed since it was listed (digest {listed[place]}, now "
                f"{ref.digest}); make the list again, or remove the digests from it"
            )
        kept.append(task)
    if not kept:
        raise ValueError(
            f"tasks.only={path}: it lists none of the {len(tasks)} tasks of this set; check family, split, count and "
            "seed"
        )
    return kept
