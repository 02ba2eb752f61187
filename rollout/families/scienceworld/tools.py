"""The functions that act in a world of ScienceWorld.

Contract: each writes one command of the simulator and returns its reply. What a function cannot express, such as the
number that answers an ambiguous request, is a command for :meth:`House.act`. The simulator alone decides: the task is
solved at its full score, and ends at a mistake that cannot be mended, such as focusing on a wrong thing. An episode
that ends otherwise is rewarded with the score so far. A command that would start the world again does nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rollout.bank.trajectory import Outcome
from rollout.environment import ended
from rollout.families.base import Toolset
from rollout.families.opening import opened
from rollout.families.scienceworld.client import SIMPLIFICATIONS, RunningWorld, start_world

MOVES, COMMANDS = 100, 200
"""Limits of an episode, those of the reference. Looking around costs no move and is a command."""
LONGEST_COMMAND = 200
"""Characters of a command."""
_UNKNOWN = "No known action matches that input."


class House(Toolset):
    """Ten rooms with the things that experiments need."""

    kind: ClassVar[str | None] = "scienceworld"
    names = (
        "look_around", "inventory", "task", "go_to", "teleport", "look_at", "look_in", "read", "open_object",
        "close_object", "pick_up", "put_down", "move", "pour", "dunk", "mix", "use", "activate", "deactivate",
        "connect", "disconnect", "eat", "flush", "focus_on", "wait", "wait_long", "act",
    )  # fmt: skip

    def __init__(self, task: str, variation: int, moves: int = MOVES, commands: int = COMMANDS) -> None:
        self._task, self._variation, self._moves, self._commands = task, variation, moves, commands
        self._running: RunningWorld | None = None
        self._given = 0

    def fresh(self) -> House:
        """A copy without a world, which :meth:`open` starts."""
        return House(self._task, self._variation, self._moves, self._commands)

    def fork(self) -> House:
        """Raises NotImplementedError: a world cannot be copied."""
        raise NotImplementedError("a world of ScienceWorld cannot be copied")

    async def open(self) -> None:
        """Starts the world. Raises EnvironmentFault when there is none."""
        self._running = await opened(lambda: start_world(self._task, self._variation))

    def outcome(self) -> Outcome | None:
        """Solved at the full score. Raises EnvironmentFault when the simulator has failed."""
        world = self._running
        if world is None:
            return None
        if world.fault is not None:
            raise world.fault
        if world.completed:
            return ended("solved", 1.0) if world.score >= 1.0 else ended("failed", world.score)
        if world.moves > self._moves or self._given >= self._commands:
            return ended("max_steps", world.score)
        return None

    def earned(self) -> float | None:
        """The score so far."""
        return None if self._running is None else self._running.score

    def close(self) -> None:
        """Lets the world go."""
        if self._running is not None:
            self._running.close()

    def description(self) -> Any:
        """The task with its variation and limits."""
        return [self.kind, self._task, self._variation, SIMPLIFICATIONS, self._moves, self._commands]

    def look_around(self) -> str:
        """Describes the room. Costs no move."""
        return self._play("look around")

    def inventory(self) -> str:
        """Lists what you carry. Costs no move."""
        return self._play("inventory")

    def task(self) -> str:
        """Says again what is to be done. Costs no move."""
        return self._play("task")

    def go_to(self, room: str) -> str:
        """Goes to a room next to this one."""
        return self._play(f"go to {room}")

    def teleport(self, room: str) -> str:
        """Goes to any room at once."""
        return self._play(f"teleport to {room}")

    def look_at(self, thing: str) -> str:
        """Describes a thing."""
        return self._play(f"look at {thing}")

    def look_in(self, container: str) -> str:
        """Lists what is in a container."""
        return self._play(f"look in {container}")

    def read(self, thing: str) -> str:
        """Reads a note or a book, such as a recipe."""
        return self._play(f"read {thing}")

    def open_object(self, thing: str) -> str:
        """Opens a container or a door."""
        return self._play(f"open {thing}")

    def close_object(self, thing: str) -> str:
        """Closes a container or a door."""
        return self._play(f"close {thing}")

    def pick_up(self, thing: str) -> str:
        """Takes a thing into the inventory."""
        return self._play(f"pick up {thing}")

    def put_down(self, thing: str) -> str:
        """Puts a thing of the inventory down in the room."""
        return self._play(f"put down {thing}")

    def move(self, thing: str, place: str) -> str:
        """Moves a thing to a container or a place."""
        return self._play(f"move {thing} to {place}")

    def pour(self, liquid: str, container: str) -> str:
        """Pours a liquid, or what is in a container, into another container."""
        return self._play(f"pour {liquid} into {container}")

    def dunk(self, container: str, liquid: str) -> str:
        """Dunks a container into a liquid."""
        return self._play(f"dunk {container} into {liquid}")

    def mix(self, container: str) -> str:
        """Mixes what is in a container."""
        return self._play(f"mix {container}")

    def use(self, thing: str, on: str = "") -> str:
        """Uses a thing, such as a thermometer, on another one."""
        return self._play(f"use {thing} on {on}" if on else f"use {thing}")

    def activate(self, device: str) -> str:
        """Turns a device on."""
        return self._play(f"activate {device}")

    def deactivate(self, device: str) -> str:
        """Turns a device off."""
        return self._play(f"deactivate {device}")

    def connect(self, thing: str, other: str) -> str:
        """Connects two electrical things, such as "anode in battery" and "orange wire terminal 1"."""
        return self._play(f"connect {thing} to {other}")

    def disconnect(self, thing: str) -> str:
        """Disconnects an electrical thing."""
        return self._play(f"disconnect {thing}")

    def eat(self, food: str) -> str:
        """Eats something."""
        return self._play(f"eat {food}")

    def flush(self, thing: str) -> str:
        """Flushes a toilet."""
        return self._play(f"flush {thing}")

    def focus_on(self, thing: str) -> str:
        """Says that a thing is the one that the task asks for. A wrong one ends the task."""
        return self._play(f"focus on {thing}")

    def wait(self) -> str:
        """Lets one step of time pass."""
        return self._play("wait1")

    def wait_long(self) -> str:
        """Lets ten steps of time pass."""
        return self._play("wait")

    def act(self, command: str) -> str:
        """Gives a command in the words of the simulator, or the number that answers an ambiguous request."""
        return self._play(command)

    def _play(self, command: str) -> str:
        if self._running is None:
            raise RuntimeError("the world has not been started")
        words = str(command).split()
        plain = " ".join(words)
        if len(plain) > LONGEST_COMMAND:
            raise ValueError(f"a command has at most {LONGEST_COMMAND} characters")
        if self.outcome() is not None:
            return "The task is over."
        self._given += 1
        if words and words[0].lower() == "reset":
            return _UNKNOWN
        return self._running.play(plain)
