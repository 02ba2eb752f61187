"""Tasks, and the families that generate them.

Contract: a :class:`Task` is a picklable value: a prompt, set-up code for the kernel, the functions offered to cells,
the reference answer with the name of its grader and, optionally, an expert that demonstrates it and an environment of
its own. The answer and the grader stay on the host; nothing that decides success enters the kernel.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rollout.bank.trajectory import Outcome, TaskRef, digest_of
from rollout.environment import Environment
from rollout.families.task_list import only_listed
from rollout.registry import GRADERS, TASK_FAMILIES

Demonstration = Generator[str, str, None]
"""Yields assistant turns and is sent the observation that followed each."""


class Toolset:
    """Functions offered to the cells of an episode. A subclass may hold state: each episode gets its own copy."""

    kind: ClassVar[str | None] = None
    """Name of the toolset in task digests, the class name by default. It stays when the class is renamed."""
    names: tuple[str, ...] = ()
    """Methods that are offered."""

    def fresh(self) -> Toolset:
        """The copy for one episode."""
        return copy.deepcopy(self)

    def fork(self) -> Toolset:
        """A second copy in the present state, for a branch of the episode.

        Raises:
            NotImplementedError: the state cannot be copied; a branch then plays the episode again.
        """
        return copy.deepcopy(self)

    async def open(self) -> None:
        """Called once on the episode's copy before the first turn: waits for what :meth:`fresh` has started.

        Raises:
            EnvironmentFault: the functions cannot be offered.
        """

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Name → bound method. The model sees its signature and the first line of its docstring."""
        return {name: getattr(self, name) for name in self.names}

    def outcome(self) -> Outcome | None:
        """Asked after each cell: an outcome ends the episode, such as a game that is won; None goes on.

        Raises:
            EnvironmentFault: the functions have failed, and the episode with them.
        """
        return None

    def earned(self) -> float | None:
        """Reward of the episode so far, which is that of the whole episode when it ends here; None: answers decide."""
        return None

    def close(self) -> None:
        """Releases what the episode's copy holds. Called once, also after a failed or cancelled episode."""

    def description(self) -> Any:
        """Everything that distinguishes this toolset from another, JSON-serialisable, for the task's digest."""
        return [self.kind or type(self).__name__, *sorted(vars(self).items())]


@dataclass(frozen=True)
class Snapshot:
    """How the state that a check looks at leaves the model's kernel.

    Attributes:
        take: an expression that is evaluated in the model's kernel; its value is bytes, at most 32 MiB.
        restore: code that runs in a fresh kernel, where ``snapshot`` is these bytes; the check follows it.
    """

    take: str
    restore: str


@dataclass(frozen=True)
class Task:
    """One task. ``group`` says how it relates to training, such as ``trained`` or ``unseen_tool``; reports show it."""

    family: str
    kind: str
    split: str
    group: str
    id: str
    prompt: str
    answer: str
    grader: str
    setup: str = ""
    """Code that runs in the kernel before the first turn; the model does not see it."""
    toolset: Toolset | None = None
    min_cells: int = 1
    """Smallest number of cells that solves the task without guessing."""
    fails_first: bool = False
    """The straightforward code raises, so the episode contains an error to recover from."""
    solution: str = field(default="", compare=False)
    """An answer that the grader accepts, where it is not ``answer`` itself: the data set's program, for tests of code.
    It is no part of the digest."""
    expert: Callable[[bool], Demonstration] | None = field(default=None, compare=False)
    """Called with ``make_mistake``: whether to make a plain mistake first and repair it."""
    environment: Callable[..., Environment] | None = field(default=None, compare=False)
    """``factory(task, kernels, protocol)``; None is :class:`rollout.codeact.environment.CodeActEnvironment`, or
    the one of ``followups`` or ``choices``."""
    choices: tuple[str, ...] = ()
    """Continuations of the prompt: under protocols of the forms ``choice`` the most probable one is the answer."""
    check: str = ""
    """Code that runs when an answer is proposed, in the model's kernel or after ``snapshot``. What it prints is graded
    in place of the answer: for tasks whose answer is a state, such as a changed table."""
    snapshot: Snapshot | None = field(default=None, compare=False)
    """Hands the state over to a fresh kernel, where the check runs; the model's kernel may have changed what the check
    uses. It is no part of the digest, because it changes no right answer."""
    followups: tuple[str, ...] = ()
    """Further questions of the user, one after each answer (:mod:`rollout.codeact.conversation`)."""

    @property
    def ref(self) -> TaskRef:
        """The task's identity as stored with every trajectory."""
        return TaskRef(
            family=self.family,
            kind=self.kind,
            split=self.split,
            group=self.group,
            id=self.id,
            digest=self.digest,
        )

    @cached_property
    def digest(self) -> str:
        """Changes when the prompt, data, tools or answer change."""
        content: list[Any] = [
            self.prompt,
            self.answer,
            self.grader,
            self.setup,
            self.toolset and self.toolset.description(),
        ]
        if self.choices:
            content.append({"choices": list(self.choices)})
        if self.check:
            content.append({"check": self.check})
        if self.followups:
            content.append({"followups": list(self.followups)})
        if self.environment is not None:
            content.append(f"{self.environment.__module__}.{self.environment.__qualname__}")
        return digest_of(content)


class TaskFamily(Protocol):
    """What a family registers in :data:`rollout.registry.TASK_FAMILIES`: a function that generates its tasks."""

    def __call__(
        self, split: str, count: Any, seed: int, kinds: tuple[str, ...] | None = None, **more: Any
    ) -> list[Task]:
        """``count`` different tasks of a split, the same for the same arguments.

        A :class:`rollout.families.data.DataFamily` also takes ``data_root`` and ``preset``, and None as
        ``count``.

        Raises:
            ValueError: for a split or kind that does not exist.
        """


class TaskSet(BaseModel):
    """A choice of tasks: family, split, number and seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    family: Annotated[str, AfterValidator(TASK_FAMILIES.check)] = "procedural"
    """Name of a registered task family."""
    split: str = "train"
    """A split of the family, such as `train`; those of `procedural` are `train` and `heldout`."""
    count: int | None = Field(160, gt=0)
    """Number of tasks; null: all of a data set."""
    seed: int = 0
    """The same seed gives the same tasks for every number of workers."""
    kinds: tuple[str, ...] | None = None
    """Only these kinds of tasks; null: all."""
    data_root: Path | None = Field(None, exclude_if=lambda value: value is None)
    """Folder of data sets; null: that of the environment variable CODEACT_DATA, else ~/.cache/codeact/data."""
    preset: str | None = Field(None, exclude_if=lambda value: value is None)
    """A named choice of a data set's tasks, such as `paper`: the tasks, order and seeds of CodeActInstruct."""
    options: dict[str, Any] = Field({}, exclude_if=lambda value: not value)
    """Options of the family, such as `search` of `hotpotqa`."""
    only: Annotated[Path, AfterValidator(Path.expanduser)] | None = Field(None, exclude_if=lambda value: value is None)
    """File that lists tasks, such as the `hard_tasks.jsonl` of `select`: only these are in the set. Of a data set,
    `count` tasks are drawn among the listed ones; of a family without end, the set's tasks that are listed stay."""


def load_tasks(chosen: TaskSet) -> list[Task]:
    """The tasks of a set, in a fixed order.

    Raises:
        ValueError: for a family, split, kind or grader that does not exist, or a list with none of its tasks.
    """
    generate: TaskFamily = TASK_FAMILIES.get(chosen.family)
    options: dict[str, Any] = {}
    if hasattr(generate, "read"):  # a family with a data set
        options.update(data_root=chosen.data_root, preset=chosen.preset)
        generate = generate.with_options(chosen.options) if chosen.options else generate  # type: ignore[attr-defined]
    elif chosen.preset or chosen.options:
        raise ValueError(f"tasks: the family {chosen.family!r} has no preset and no options; take them out")
    elif chosen.count is None:
        raise ValueError(f"tasks.count: the family {chosen.family!r} has no end; give a number")
    count = chosen.count if chosen.only is None or not options else None
    tasks = generate(chosen.split, count, chosen.seed, kinds=chosen.kinds, **options)
    if chosen.only is not None:
        tasks = only_listed(tasks, chosen.only)
        if options and chosen.count is not None and chosen.count < len(tasks):
            drawn = Random(f"{chosen.family}/{chosen.split}/{chosen.seed}").sample(range(len(tasks)), chosen.count)
            tasks = [tasks[index] for index in sorted(drawn)]
    for grader in {task.grader for task in tasks}:
        GRADERS.check(grader)
    return tasks
