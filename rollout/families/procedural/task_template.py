"""A task before the family gives it an id, and helpers to write an expert's turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from rollout.families.base import Demonstration, Toolset


@dataclass(frozen=True)
class TaskTemplate:
    """A task without an id. ``key`` identifies its content independently of the wording and decides the split."""

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
    """Wordings of one question; the unseen ones never occur in training."""

    seen: Sequence[str]
    unseen: Sequence[str]

    def pick(self, rng: Random, group: str, /, **slots: object) -> str:
        """A random wording of the group, with its slots filled."""
        return rng.choice(self.unseen if group == "unseen_wording" else self.seen).format(**slots)


def act(thought: str, code: str) -> str:
    """An assistant turn that runs a cell."""
    return f"{thought}\n<execute>\n{code}\n</execute>"


def propose(answer: str) -> str:
    """An assistant turn that gives the final answer."""
    return f"<solution>{answer.strip()}</solution>"


def failed(observation: str) -> bool:
    """True when the last cell ended in an exception, that is, in a line ``SomeError: message``."""
    last = observation.strip().rsplit("\n", 1)[-1]
    name = last.split(":", 1)[0]
    return name.isidentifier() and name.endswith(("Error", "Exception"))
