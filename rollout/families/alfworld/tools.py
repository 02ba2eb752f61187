"""The eleven functions that move an agent through a household (MINT, arXiv 2309.10691, appendix).

Contract: each writes one command of the game and returns the game's reply as the recorded runs show it; a command that
the game refuses returns ``Nothing happens.`` An episode has a game of its own, in a process of its own. The episode is
solved as soon as the goal is reached, also in the middle of a cell.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from rollout.bank.trajectory import Outcome, digest_of
from rollout.environment import ended
from rollout.families.alfworld.client import RunningGame, start_game
from rollout.families.alfworld.game_file import GameFile
from rollout.families.base import Toolset

_ARRIVAL = re.compile(r"^You arrive at (loc \d+|[^.]*)\. *")


class Household(Toolset):
    """A room with its furniture and things."""

    kind: ClassVar[str | None] = "alfworld"
    names = (
        "put", "goto", "take_from", "open_receptacle", "toggle", "close_receptacle", "clean", "heat", "cool", "use",
        "look",
    )  # fmt: skip

    def __init__(self, game: GameFile) -> None:
        self._game = game
        self._running: RunningGame | None = None

    def fresh(self) -> Household:
        """A copy whose game starts to load."""
        copy = Household(self._game)
        copy._running = start_game(self._game.name, self._game.data)
        return copy

    def fork(self) -> Household:
        """A copy with a game of its own in the present state. Raises EnvironmentFault when the game is lost."""
        copy = Household(self._game)
        copy._running = self._running and self._running.fork()
        return copy

    async def open(self) -> None:
        """Waits until the game is loaded."""
        if self._running is not None:
            await self._running.ready()

    def outcome(self) -> Outcome | None:
        """Solved when the goal has been reached. Raises EnvironmentFault when the game has been lost."""
        if self._running is None:
            return None
        if self._running.fault is not None:
            raise self._running.fault
        return ended("solved") if self._running.won else None

    def close(self) -> None:
        """Ends the game."""
        if self._running is not None:
            self._running.close()

    def description(self) -> Any:
        """The game, by its content."""
        return [self.kind, self._game.name, digest_of(self._game.text())]

    def put(self, object: str, receptacle: str) -> str:
        """Puts an object that you hold in or on a receptacle."""
        return self._play(f"put {object} in/on {receptacle}")

    def goto(self, receptacle: str) -> str:
        """Goes to a receptacle and looks at it."""
        return self._play(f"go to {receptacle}")

    def take_from(self, object: str, receptacle: str) -> str:
        """Takes an object from the receptacle where you are."""
        return self._play(f"take {object} from {receptacle}")

    def open_receptacle(self, receptacle: str) -> str:
        """Opens a closed receptacle and looks into it."""
        return self._play(f"open {receptacle}")

    def toggle(self, object_or_receptacle: str) -> str:
        """Toggles a switch; most things have none."""
        return self._play(f"toggle {object_or_receptacle}")

    def close_receptacle(self, receptacle: str) -> str:
        """Closes an open receptacle."""
        return self._play(f"close {receptacle}")

    def clean(self, object: str, receptacle: str) -> str:
        """Cleans an object that you hold, with a sinkbasin."""
        return self._play(f"clean {object} with {receptacle}")

    def heat(self, object: str, receptacle: str) -> str:
        """Heats an object that you hold, with a microwave."""
        return self._play(f"heat {object} with {receptacle}")

    def cool(self, object: str, receptacle: str) -> str:
        """Cools an object that you hold, with a fridge."""
        return self._play(f"cool {object} with {receptacle}")

    def use(self, receptacle: str) -> str:
        """Uses something where you are, such as a lamp to look at what you hold."""
        return self._play(f"use {receptacle}")

    def look(self) -> str:
        """Looks around."""
        return self._play("look")

    def _play(self, command: str) -> str:
        if self._running is None:
            raise RuntimeError("the game has not been started")
        return _ARRIVAL.sub("", self._running.play(command))
