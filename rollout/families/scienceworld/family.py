"""The family ``scienceworld``: one task a variation of the simulator's 30 tasks, score from the simulator.

Contract: the variations are those that the reference evaluates: of each task at most ten of the simulator's split
``test``, drawn with the seed 1. ``train`` has ten of its split ``train``, drawn alike. What each asks for is in
``tasks.jsonl``, which :mod:`rollout.families.scienceworld.describe` writes, so reading tasks starts nothing; playing
them needs Java. The simulator's own chance, such as the flight of bees, is not seeded by a task.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, FamilyInfo, Refused
from rollout.families.scienceworld.expert import GoldPath
from rollout.families.scienceworld.installed import installed
from rollout.families.scienceworld.tools import COMMANDS, MOVES, House

TABLE = Path(__file__).with_name("tasks.jsonl")
PROMPT = """You are in a house with ten rooms and the things that experiments need, and act in it by commands. {}

Doors and most containers are open. The house takes at most {} moves; describing the room, listing what you carry and \
repeating the task cost none. The task ends by itself when it is done. No answer is asked for."""


@cache
def described(split: str) -> tuple[dict[str, Any], ...]:
    """The tasks of a split: ``task``, ``variation`` and the ``text`` that says what is to be done."""
    rows = (json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines())
    return tuple(row for row in rows if row["split"] == split)


class ScienceWorld(DataFamily):
    """One task a variation."""

    name: ClassVar[str] = "scienceworld"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="ScienceWorld (Wang et al., 2022), the variations that CodeAct evaluates",
        licence="Apache-2.0",
        splits={
            "test": "270 variations of 30 tasks: at most ten of each task's test split",
            "train": "at most ten variations of each task's training split",
        },
        sources={},
        grader="environment",
        protocol="scienceworld",
        tools=House.names,
        defects=(
            "The reference replaces a command that is not valid by the most similar valid one; here the simulator "
            "refuses it.",
            'The reference ends an episode after ten replies in a row with "not" or "can\'t" in them, and after '
            "five commands of which only two differ; here only the limits count.",
            "The reference counts tokens with the wrong tokenizer and leaves out the oldest turns of its example; here "
            "nothing is left out, and an episode ends when the model's context is full.",
            "A missing file of a task silently changes the reference's mean, and a negative mean stops its script.",
            "A mistake that ends a task scores −100 in the simulator; as in the reference, the score before it counts.",
            "The simulator lists the things of a room in an order that changes between runs; here it is fixed.",
            "The command `reset task` starts a world again; here it does nothing.",
        ),
    )

    def check_installed(self) -> None:
        """Looks for package and Java. Raises MissingDataError."""
        installed()

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        installed()
        yield from self.tasks(split)

    def tasks(self, split: str) -> Iterator[Task]:
        """The tasks of a split, also where they cannot be played."""
        for row in described(split):
            task, variation = row["task"], row["variation"]
            yield self.task(
                split,
                f"{task}/{variation}",
                PROMPT.format(row["text"], MOVES),
                "",
                kind=task,
                toolset=House(task, variation, MOVES, COMMANDS),
                expert=GoldPath(task, variation),
            )
