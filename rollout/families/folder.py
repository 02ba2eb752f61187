"""A folder of one's own: tasks as JSON Lines, graded by a registered grader or a function.

The folder is ``tasks.data_root``. Each line of its ``*.jsonl`` files (also ``.gz``, ``.xz``) is one task::

    {"id": "sum-1", "prompt": "What is 2 + 2?", "answer": "4", "grader": "number"}

``prompt`` and ``answer`` are needed. A task belongs to the split that its ``split`` names, else to the split that the
file is named after (``train.jsonl``). Its grader is its ``grader``, else that of ``tasks.options``: a registered name
or ``module:function``.
"""

from __future__ import annotations

import ast
import copy
import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from rollout.bank.trajectory import digest_of
from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, FamilyInfo, Loaded, MissingDataError, Refused
from rollout.families.data.rows import Row, json_lines
from rollout.registry import GRADERS

KEYS = ("id", "prompt", "answer", "grader", "setup", "kind", "group", "split", "solution")
_TEXTS = ("prompt", "grader", "setup", "kind", "group", "split", "solution")


class Folder(DataFamily):
    """``tasks.options.grader`` is the grader of tasks that name none."""

    name: ClassVar[str] = "folder"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="A folder of tasks of your own",
        licence="yours",
        splits={},
        sources={},
        grader="",
        defects=(
            "Each line of a `.jsonl` file is a task. Unknown keys, ids used twice and graders that do not exist are "
            "errors with file and line; duplicates, tasks of two splits and rows without an answer are refused.",
        ),
    )

    def __init__(self) -> None:
        self._grader = ""

    def with_options(self, options: Mapping[str, Any]) -> Folder:
        """``grader``: a registered name or ``module:function``, for tasks that name none."""
        if set(options) != {"grader"} or not isinstance(options["grader"], str):
            raise ValueError(f"tasks.options: {dict(options)!r} does not fit folder; write grader: NAME")
        family = copy.copy(self)
        family._grader = options["grader"]
        return family

    def splits(self, data_root: Path | None = None) -> list[str]:
        """The splits that its tasks name."""
        return sorted({row.split for row in _rows(DataRoot(data_root).folder)})

    def is_here(self, split: str, data_root: Path | None = None) -> bool:
        """Whether the folder has tasks of this split."""
        return split in self.splits(data_root)

    def load(self, split: str, data_root: Path | None = None, preset: str | None = None) -> Loaded:
        """Every task of a split.

        Raises:
            MissingDataError: the folder has no tasks.
            ValueError: a line is no task, or the split does not exist.
        """
        if preset is not None:
            raise ValueError(f"tasks.preset: {preset!r} is not a preset of folder; there are none")
        loaded = Loaded([])
        for row in self.read(split, DataRoot(data_root)):
            if isinstance(row, Refused):
                loaded.refused[row.reason] += 1
            else:
                loaded.tasks.append(row)
        return loaded

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        found, rows = _Seen(), _rows(root.folder)
        if split not in (known := sorted({row.split for row in rows})):
            raise ValueError(f"tasks.split: {split!r} is not a split in {root.folder}; its tasks name {known}")
        for row in rows:
            task = self._task(row)
            reason = found.again(row, task) if isinstance(task, Task) else task
            if row.split != split:
                continue
            if reason:
                yield Refused(str(row.values.get("id", row.place)), reason)
            elif isinstance(task, Task):
                yield task

    def _task(self, row: _Row) -> Task | str:
        """The task of a row, or why it is refused. Raises ValueError for what its author must mend."""
        values, place = row.values, row.place
        for key in values:
            if key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(KEYS)}"
                raise ValueError(f"{place}: {key!r} is not a key of a task{hint}")
        for key in _TEXTS:
            if not isinstance(values.get(key, ""), str):
                raise ValueError(f"{place}: {key} must be a text, not {json.dumps(values[key])[:60]}")
        if not values.get("prompt", "").strip():
            return "no prompt"
        answer = values.get("answer")
        if answer is None or (isinstance(answer, str) and not answer.strip()):
            return "no answer"
        return Task(
            family=self.name,
            kind=values.get("kind") or "task",
            split=row.split,
            group=values.get("group") or row.split,
            id=str(values.get("id") or digest_of([values["prompt"], answer])),
            prompt=values["prompt"],
            answer=answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False),
            grader=self._known(values.get("grader") or self._grader, place),
            setup=_python(values.get("setup", ""), place),
            solution=values.get("solution", ""),
        )

    def _known(self, grader: str, place: str) -> str:
        if not grader:
            names = ", ".join(GRADERS.names())
            raise ValueError(
                f'{place}: the task has no grader; add "grader": "NAME" to it, or tasks.options.grader for all; known: '
                f"{names}, or a function of yours as module:function"
            )
        try:
            GRADERS.get(grader)
            return grader
        except ValueError as fault:
            raise ValueError(f"{place}: {fault}") from fault


@dataclass(frozen=True)
class _Row:
    place: str
    split: str
    values: Row


@dataclass
class _Seen:
    """The tasks of a folder so far, in all splits, so that none is asked twice or in two splits."""

    by_id: dict[str, str] = field(default_factory=dict)
    by_content: dict[str, str] = field(default_factory=dict)

    def again(self, row: _Row, task: Task) -> str:
        """Why a task is refused because of an earlier one; empty when it is new.

        Raises:
            ValueError: an earlier task has the same id and another content.
        """
        content = digest_of([task.prompt, task.answer, task.setup])
        if content in self.by_content:
            first = self.by_content[content]
            return "duplicate" if first == task.split else f"is a task of {first} too"
        self.by_content[content] = task.split
        place = self.by_id.setdefault(task.id, row.place)
        if place != row.place:
            raise ValueError(f"{row.place}: the id {task.id!r} is that of another task at {place}; give each its own")
        return ""


def _python(setup: str, place: str) -> str:
    try:
        ast.parse(setup)
    except (SyntaxError, ValueError) as fault:
        raise ValueError(f"{place}: setup is not Python: {fault}") from None
    return setup


def _rows(folder: Path) -> list[_Row]:
    """Every line of the folder's files, in the order of their names.

    Raises:
        MissingDataError: there are none.
        ValueError: a line is no JSON object.
    """
    files = [folder] if folder.is_file() else sorted(folder.glob("*.jsonl*"))
    rows = []
    for file in files:
        named = file.name.partition(".")[0]
        for number, values in json_lines(file):
            split = values.get("split", named)
            rows.append(_Row(f"{file}:{number}", split if isinstance(split, str) else named, values))
    if not rows:
        raise MissingDataError(
            f"tasks.data_root={folder}: there are no tasks; give a folder with .jsonl files, one task a line: "
            '{"prompt": "What is 2 + 2?", "answer": "4", "grader": "number"}'
        )
    return rows


generate = Folder()
