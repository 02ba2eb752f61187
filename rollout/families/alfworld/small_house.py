"""A household of some places, for worked examples: the functions and texts of ALFWorld without its simulator.

Contract: :class:`SmallHouse` has the eleven functions of :class:`rollout.families.alfworld.tools.Household` and
answers as the games do, for the rules that an example needs: one thing is held at a time, places with doors are
opened, basins clean, microwaves heat, fridges cool, lamps are used where the agent stands. It is no
game: a game has more rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout.bank.trajectory import Outcome
from rollout.environment import ended
from rollout.families.alfworld.game_file import enumerate_names
from rollout.families.alfworld.tools import Household
from rollout.families.base import Toolset

NOTHING = "Nothing happens."
_STATES = {"sinkbasin": "clean", "microwave": "heat", "fridge": "cool"}


class SmallHouse(Toolset):
    """Places with things. ``goal`` is ``{"thing", "place", "state"?, "count"?}`` or ``{"thing", "lamp"}``."""

    names = Household.names

    def __init__(self, places: Mapping[str, list[str]], closed: list[str], goal: Mapping[str, Any]) -> None:
        """``places``: what is where; ``closed``: the places with a door, all shut at first."""
        self.places = {place: list(things) for place, things in places.items()}
        self.doors, self.shut = list(closed), list(closed)
        self.goal = dict(goal)
        self.at: str | None = None
        self.held: str | None = None
        self.states: dict[str, str] = {}
        self.lit: list[str] = []

    def outcome(self) -> Outcome | None:
        """Solved when the goal is reached."""
        return ended("solved") if self._reached() else None

    def first_text(self) -> str:
        """What a task says of the house."""
        seen = enumerate_names(list(self.places))
        return f"You are in the middle of a room. Looking quickly around you, you see {seen}."

    def goto(self, receptacle: str) -> str:
        """Goes to a receptacle and looks at it."""
        if receptacle not in self.places or receptacle == self.at:
            return NOTHING
        self.at = receptacle
        return self._seen(receptacle)

    def open_receptacle(self, receptacle: str) -> str:
        """Opens a closed receptacle and looks into it."""
        if receptacle != self.at or receptacle not in self.shut:
            return NOTHING
        self.shut.remove(receptacle)
        return f"You open the {receptacle}. {self._seen(receptacle)}"

    def close_receptacle(self, receptacle: str) -> str:
        """Closes an open receptacle."""
        if receptacle != self.at or receptacle not in self.doors or receptacle in self.shut:
            return NOTHING
        self.shut.append(receptacle)
        return f"You close the {receptacle}."

    def take_from(self, object: str, receptacle: str) -> str:
        """Takes an object from the receptacle where you are."""
        if self.held or not self._within_reach(receptacle) or object not in self.places[receptacle]:
            return NOTHING
        self.places[receptacle].remove(object)
        self.held = object
        return f"You pick up the {object} from the {receptacle}."

    def put(self, object: str, receptacle: str) -> str:
        """Puts an object that you hold in or on a receptacle."""
        if object != self.held or not self._within_reach(receptacle):
            return NOTHING
        self.places[receptacle].append(object)
        self.held = None
        return f"You put the {object} in/on the {receptacle}."

    def clean(self, object: str, receptacle: str) -> str:
        """Cleans an object that you hold, with a sinkbasin."""
        return self._treat("clean", object, receptacle)

    def heat(self, object: str, receptacle: str) -> str:
        """Heats an object that you hold, with a microwave."""
        return self._treat("heat", object, receptacle)

    def cool(self, object: str, receptacle: str) -> str:
        """Cools an object that you hold, with a fridge."""
        return self._treat("cool", object, receptacle)

    def use(self, receptacle: str) -> str:
        """Uses something where you are, such as a lamp to look at what you hold."""
        if self.at is None or receptacle not in self.places[self.at] or "lamp" not in receptacle:
            return NOTHING
        self.lit.append(receptacle)
        return f"You turn on the {receptacle}."

    def toggle(self, object_or_receptacle: str) -> str:
        """Toggles a switch; most things have none."""
        return NOTHING

    def look(self) -> str:
        """Looks around."""
        return f"You are facing the {self.at}. Next to it, you see nothing." if self.at else self.first_text()

    def _within_reach(self, place: str) -> bool:
        return place == self.at and place not in self.shut

    def _seen(self, place: str) -> str:
        if place in self.shut:
            return f"The {place} is closed."
        things = enumerate_names(self.places[place])
        if place in self.doors:
            return f"The {place} is open. In it, you see {things}."
        return f"On the {place}, you see {things}."

    def _treat(self, state: str, thing: str, place: str) -> str:
        if thing != self.held or place != self.at or _STATES.get(place.split()[0]) != state:
            return NOTHING
        self.states[thing] = state
        return f"You {state} the {thing} using the {place}."

    def _reached(self) -> bool:
        thing = self.goal["thing"]
        if "lamp" in self.goal:
            held = self.held is not None and self.held.startswith(f"{thing} ")
            return held and any(lamp.startswith(self.goal["lamp"]) for lamp in self.lit)
        there = [
            one
            for place, things in self.places.items()
            for one in things
            if place.startswith(f"{self.goal['place']} ") and one.startswith(f"{thing} ")
        ]
        state = self.goal.get("state")
        return sum(state in (None, self.states.get(one)) for one in there) >= self.goal.get("count", 1)
