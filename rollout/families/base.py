"""What a task is, and where task families are found by name.

Contract: a :class:`Task` is a picklable value: a prompt, what the kernel holds before the first turn, the functions
offered to cells, the reference answer with the name of its grader, and (for families that have one) an expert that
can demonstrate it. The answer and the grader stay on the host; nothing that decides success enters the kernel.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from rollout.trajectory import TaskRef, digest_of

Demonstration = Generator[str, str, None]
"""Yields assistant turns and is sent the observation that followed each."""

FAMILIES = {"procedural": "rollout.families.procedural"}
"""Family name → module with ``generate(split, count, seed, **options) -> list[Task]``."""


class Toolset:
    """Functions offered to the cells of one episode; a subclass may hold state, and each episode gets its own copy."""

    kind: ClassVar[str | None] = None
    """Name of the toolset in task digests, the class name by default. It stays when the class is renamed."""
    names: tuple[str, ...] = ()
    """Methods that are offered."""

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Name → bound method, whose signature and docstring are the documentation the model sees."""
        fresh = copy.deepcopy(self)
        return {name: getattr(fresh, name) for name in self.names}

    def description(self) -> Any:
        """Everything that distinguishes this toolset from another, JSON-serialisable, for the task's digest."""
        return [self.kind or type(self).__name__, *sorted(vars(self).items())]


@dataclass(frozen=True)
class Task:
    """One task. ``group`` says how it relates to training: ``trained``, ``unseen_wording`` or ``unseen_tool``."""

    family: str
    kind: str
    split: str
    group: str
    id: str
    prompt: str
    answer: str
    grader: str
    setup: str = ""
    """Code run in the kernel before the first turn; the model does not see it."""
    toolset: Toolset | None = None
    min_cells: int = 1
    """Fewest cells in which the task can be solved without guessing."""
    fails_first: bool = False
    """The straightforward code raises, so the episode contains an error to recover from."""
    expert: Callable[[bool], Demonstration] | None = field(default=None, compare=False)
    """Called with ``make_mistake``: whether to make a plain mistake first and repair it."""

    @property
    def ref(self) -> TaskRef:
        """The task's identity as stored with every trajectory."""
        content = [self.prompt, self.answer, self.grader, self.setup, self.toolset and self.toolset.description()]
        return TaskRef(
            family=self.family,
            kind=self.kind,
            split=self.split,
            group=self.group,
            id=self.id,
            digest=digest_of(content),
        )


class TaskSet(BaseModel):
    """A choice of tasks: which family, which split, how many, from which seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str = "procedural"
    """Name of a task family."""
    split: str = "train"
    """`train` or `heldout`; no task is ever in both."""
    count: int = Field(160, gt=0)
    """How many tasks."""
    seed: int = 0
    """The same seed gives the same tasks, whatever the number of workers."""
    kinds: tuple[str, ...] | None = None
    """Restrict to these kinds; all when absent."""


def load_tasks(chosen: TaskSet) -> list[Task]:
    """The tasks of a set, in a fixed order.

    Raises:
        ValueError: for a family, split or kind that does not exist.
    """
    if chosen.family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ValueError(f"tasks.family: '{chosen.family}' is not a task family; choose one of: {known}")
    module = importlib.import_module(FAMILIES[chosen.family])
    return module.generate(chosen.split, chosen.count, chosen.seed, kinds=chosen.kinds)
