"""Players of ScienceWorld: the simulator's own gold path, and paths that must not do the task.

Contract: the gold path is worked out by the simulator when it is first played, and kept. A look that is repeated at
once is left out, because the simulator's paths look at an inclined plane up to a hundred times. A turn of code has the
commands of one room, other forms have one command a turn. No player makes a mistake on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from rollout.families.base import Demonstration, Task
from rollout.families.calling_expert import Call, answer_turn, call_turn, cell_turn
from rollout.families.scienceworld.client import start_world
from rollout.families.scienceworld.tools import House

Path = Literal["gold", "nothing", "looks", "cut", "wrong focus"]
LONG_MOVES, LONG_COMMANDS, LONG_TURNS = 400, 800, 600
"""Limits in which every gold path ends; up to 180 moves of them are needed."""
_CODE = ("tags", "chat", "fenced", "action_code")
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("look_around", "look around"), ("inventory", "inventory"), ("task", "task"), ("wait", "wait1"),
    ("wait_long", "wait"), ("go_to", "go to (.+)"), ("teleport", "teleport to (.+)"), ("look_at", "look at (.+)"),
    ("look_in", "look in (.+)"), ("read", "read (.+)"), ("open_object", "open (.+)"), ("close_object", "close (.+)"),
    ("pick_up", "pick up (.+)"), ("put_down", "put down (.+)"), ("move", "move (.+) to (.+)"),
    ("pour", "pour (.+) into (.+)"), ("dunk", "dunk (.+) into (.+)"), ("mix", "mix (.+)"), ("use", "use (.+) on (.+)"),
    ("activate", "activate (.+)"), ("deactivate", "deactivate (.+)"), ("connect", "connect (.+) to (.+)"),
    ("disconnect", "disconnect (.+)"), ("eat", "eat (.+)"), ("flush", "flush (.+)"), ("focus_on", "focus on (.+)"),
)  # fmt: skip
"""Function → the command that it writes; the first that fits is taken."""


@dataclass(frozen=True)
class GoldPath:
    """The expert of a task.

    Attributes:
        task: one of the 30 tasks.
        variation: its variation.
        path: the gold path, or what is done in place of it.
    """

    task: str
    variation: int
    path: Path = "gold"

    def __call__(self, make_mistake: bool) -> Demonstration:
        """The demonstration in tags."""
        return self._demonstrate("tags")

    def in_form(self, form: str) -> Callable[[bool], Demonstration] | None:
        """The player under a protocol of another form; None where it has no turns."""
        if form not in (*_CODE, "action_json", "action_text", "action_command"):
            return None

        def demonstrate(make_mistake: bool) -> Demonstration:
            return self._demonstrate(form)

        return demonstrate

    def wrong_experts(self) -> list[GoldPath]:
        """Players that must not do the task."""
        wrong: tuple[Path, ...] = ("nothing", "looks", "cut", "wrong focus")
        return [replace(self, path=path) for path in wrong]

    def with_room(self, task: Task) -> tuple[Task, int]:
        """The task with limits in which its gold path ends, and the number of turns that this takes at most."""
        return replace(task, toolset=House(self.task, self.variation, LONG_MOVES, LONG_COMMANDS)), LONG_TURNS

    def commands(self) -> list[str]:
        """The commands that are given, worked out by the simulator."""
        if self.path in ("nothing", "looks"):
            return ["look around", "inventory", "look around", "task"] if self.path == "looks" else []
        gold = list(_gold(self.task, self.variation))
        if self.path == "cut":
            return gold[: len(gold) // 3]
        if self.path == "wrong focus":
            first = next((index for index, one in enumerate(gold) if one.startswith("focus on")), len(gold) // 3)
            return [*gold[:first], "focus on agent"]
        return gold

    def _demonstrate(self, form: str) -> Demonstration:
        commands = self.commands()
        if form in _CODE:
            for room in _rooms(commands):
                yield cell_turn(form, "\n".join(f"print({_python(one)})" for one in room))
        else:
            for one in commands:
                yield f"Action: {one}" if form == "action_command" else call_turn(form, _call(one))
        yield answer_turn(form, "done")


@lru_cache(maxsize=1024)
def _gold(task: str, variation: int) -> tuple[str, ...]:
    """The gold path. An expert plays from its start at each turn, and working it out takes up to 15 s."""
    world = start_world(task, variation, gold=True)
    try:
        return tuple(_without_repeated_looks(world.gold_path()))
    finally:
        world.close()


def _without_repeated_looks(commands: Sequence[str]) -> Iterator[str]:
    for index, one in enumerate(commands):
        if not (one.startswith("look at") and index and commands[index - 1] == one):
            yield one


def _rooms(commands: Sequence[str], most: int = 12) -> Iterator[list[str]]:
    """The commands in parts that end when a room is entered, or after some commands."""
    part: list[str] = []
    for one in commands:
        part.append(one)
        if one.startswith(("go to", "teleport")) or len(part) >= most:
            yield part
            part = []
    if part:
        yield part


def _call(command: str) -> Call:
    """The call that writes a command."""
    for name, pattern in _PATTERNS:
        if found := re.fullmatch(pattern, command):
            return Call(name, found.groups())
    return Call("act", (command,))


def _python(command: str) -> str:
    call = _call(command)
    return f"{call.tool}({', '.join(map(repr, call.args))})"
