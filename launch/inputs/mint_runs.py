"""Converts runs of the MINT benchmark (models of others that act by writing Python) into training records.

Contract: a file of runs is JSON Lines, packed (``.gz``) or not, each line ``{"task", "task_id", "model", "success",
"messages": [{"role", "content"}]}`` among other keys; it is recognised by its first line. Each line becomes one line; a
line that is not a run stays unchanged, so that prepare counts and names it. The record's source is the family of the
task. Runs of one task are a group, so that no task is both trained and held out. These turns are context (weight 0):
all turns of a failed run, and in the others each turn whose cell raised or was not understood, and each in which the
model makes up an observation. Cost: one pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from codeact_train import read_lines

_PROMPTED = re.compile(r"^(?:Assistant:\s*)+")
_MADE_UP = "Observation:"
_REFUSED = re.compile(
    r"^Cell In\[\d+\]|Traceback \(most recent call last\)|I don't understand your input", re.MULTILINE
)


class _Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class _Run(BaseModel):
    task: str
    task_id: str
    model: str
    success: bool
    messages: list[_Message]


def is_runs(path: Path) -> bool:
    """Whether the first line of a file is a run."""
    first = next(read_lines(path), None)
    return first is not None and _read(first[1]) is not None


def records(path: Path) -> Iterator[str]:
    """The lines of a file of runs as lines of a file of records."""
    for _, raw in read_lines(path):
        run = _read(raw)
        yield json.dumps(_record(run), ensure_ascii=False) + "\n" if run else raw.decode("utf-8", "replace")


def _read(raw: bytes) -> _Run | None:
    try:
        return _Run.model_validate_json(raw)
    except ValidationError:
        return None


def _record(run: _Run) -> dict[str, Any]:
    turns = []
    for message, reply in zip(run.messages, chain(run.messages[1:], [None]), strict=True):
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.role == "assistant":
            turn["content"] = said = _PROMPTED.sub("", message.content.strip(), count=1)
            if not run.success or _MADE_UP in said or (reply and _REFUSED.search(reply.content)):
                turn["weight"] = 0.0
        turns.append(turn)
    task = f"{run.task}/{run.task_id}"
    return {"id": f"{task}/{run.model}", "source": run.task, "group": task, "conversations": turns}
