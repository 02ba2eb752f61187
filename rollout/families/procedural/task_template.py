"""What a kind returns before the family gives it an id, and how experts write their turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from rollout.families.base import Demonstration, Toolset


@dataclass(frozen=True)
class Draft:
    """A task without identity. ``key`` holds what makes it this task whatever the wording: it decides the split."""

    key: tuple[object, ...]
    prompt: str
    answer: str
    grader: str
    expert: Callable[[bool], Demonstration]
    setup: str = ""
    toolset: Toolset | None = None
    min_cells: int = 1
    fails_first: bool = False


@dataclass(frozen=True)
class Wordings:
    """Ways to ask the same thing; the unseen ones never occur in training."""

    seen: Sequence[str]
    unseen: Sequence[str]

    def pick(self, rng: Random, group: str, /, **slots: object) -> str:
        """One wording of the group, its slots filled."""
        return rng.choice(self.unseen if group == "unseen_wording" else self.seen).format(**slots)


def act(thought: str, code: str) -> str:
    """An assistant turn that runs a cell."""
    return f"{thought}\n<execute>\n{code}\n</execute>"


def propose(answer: str) -> str:
    """An assistant turn that gives the final answer."""
    return f"<solution>{answer.strip()}</solution>"


def failed(observation: str) -> bool:
    """Did the last cell end in an exception? Its last line then reads ``SomeError: message``."""
    last = observation.strip().rsplit("\n", 1)[-1]
    name = last.split(":", 1)[0]
    return name.isidentifier() and name.endswith(("Error", "Exception"))
