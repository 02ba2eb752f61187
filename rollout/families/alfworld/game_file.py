"""What a game file of ALFWorld says, read without a simulator.

A file is JSON: the PDDL domain, the PDDL problem with every object of a room, and the grammar of the texts. Objects
have long names made of their coordinates; players see short ones such as ``cabinet 2``. :func:`short_names` gives the
numbers of the recorded runs: the objects of a kind in the order of their long names, counted downwards. Cost: a few
milliseconds a game.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

KINDS = {
    "pick_and_place": "put",
    "pick_clean_then_place": "clean",
    "pick_heat_then_place": "heat",
    "pick_cool_then_place": "cool",
    "look_at_obj": "examine",
    "pick_two_obj": "puttwo",
}
"""Start of a game's name → kind of task."""

_UNPLAYABLE = ("movable_recep", "Sliced")
"""Tasks with things in things, or with a knife."""
_GOAL = re.compile(r"Your task is to: [^\"\\]*")
_RECEPTACLE = re.compile(r"\(receptacleatlocation\s+(\w+_bar_\w+)", re.IGNORECASE)
_NAMED = re.compile(r"\b\w+_bar_\w+")


@dataclass(frozen=True)
class GameFile:
    """One game, compressed: about 12 KB.

    Attributes:
        name: folder of the game and of its trial, such as ``pick_and_place_simple-Mug-None-Desk-308/trial_T2019…``.
        data: the game file, compressed by zlib.
        demonstration: calls that win the game, by cell; empty when there is none.
    """

    name: str
    data: bytes
    demonstration: tuple[str, ...] = ()

    @property
    def kind(self) -> str | None:
        """Kind of the task; None for a name that is not known."""
        return next((kind for start, kind in KINDS.items() if self.name.startswith(start)), None)

    def text(self) -> str:
        """The file's content."""
        return zlib.decompress(self.data).decode()

    def first_text(self) -> str:
        """What the player reads first: the places of the room, and the goal.

        Raises:
            ValueError: the file is no game, or one that cannot be won.
        """
        try:
            game = json.loads(self.text())
            problem, grammar = game["pddl_problem"], game["grammar"]
            goal = _GOAL.search(grammar)
        except (ValueError, KeyError, TypeError):
            raise ValueError("no game in the file") from None
        if any(word in self.name for word in _UNPLAYABLE):
            raise ValueError("the task needs an action that no function has")
        if game.get("solvable") is False:
            raise ValueError("the game has no solution")
        if goal is None:
            raise ValueError("no goal in the game")
        names = short_names(_NAMED.findall(problem.lower()))
        places = sorted({place.lower() for place in _RECEPTACLE.findall(problem)})
        listed = enumerate_names([names[place] for place in places])
        seen = f"You are in the middle of a room. Looking quickly around you, you see {listed}."
        return f"{seen}\n{goal.group().strip()}"


def short_names(ids: Iterable[str]) -> dict[str, str]:
    """Long name → name that a player uses. Names without coordinates are left out."""
    kinds = {one: _kind(one) for one in sorted(set(ids)) if "_bar_" in one}
    left = Counter(kinds.values())
    names = {}
    for one, kind in kinds.items():
        names[one] = f"{kind} {left[kind]}"
        left[kind] -= 1
    return names


def _kind(long_name: str) -> str:
    """A basin is a part of its sink or bathtub; the long name begins with the whole."""
    kind = long_name.partition("_bar_")[0]
    return f"{kind}basin" if "basin" in long_name else kind


def enumerate_names(names: list[str]) -> str:
    """``a cabinet 2, a cabinet 1, and a sofa 1``."""
    if not names:
        return "nothing"
    with_article = [f"a {name}" for name in names]
    return ", and ".join([", ".join(with_article[:-1]), with_article[-1]]) if len(names) > 1 else with_article[0]


def read_demonstration(text: str) -> tuple[str, ...]:
    """The cells of a ``gt_traj.txt``, with the functions' names in place of the short ones that it uses."""
    cells = re.findall(r"<execute>(.*?)</execute>", text, re.DOTALL)
    renamed = {"open": "open_receptacle", "close": "close_receptacle", "take": "take_from"}
    return tuple(
        re.sub(r"^(\w+)\(", lambda found: f"{renamed.get(found[1], found[1])}(", cell.strip(), flags=re.MULTILINE)
        for cell in cells
    )
