"""Generates the tasks: chooses kind, group and split, and gives each task its id."""

from __future__ import annotations

import itertools
from random import Random

from rollout.bank.trajectory import digest_of
from rollout.families.base import Task
from rollout.families.procedural import math, sql, table, tool
from rollout.families.procedural.task_template import TaskTemplate

KINDS = {"table": table.make, "sql": sql.make, "math": math.make, "tool": tool.make}
"""Kind → ``make(rng, group) -> TaskTemplate``."""

HELDOUT_SHARE = 0.25
"""Share of all possible tasks that belong to the held-out split."""

HELDOUT_GROUPS = ("trained", "trained", "trained", "unseen_wording", "unseen_tool")
"""Groups of the held-out split, in turn; only the kind ``tool`` has an ``unseen_tool`` group."""


def generate(split: str, count: int, seed: int, kinds: tuple[str, ...] | None = None) -> list[Task]:
    """``count`` different tasks of a split. Kinds alternate, and so do the groups of the held-out split.

    Raises:
        ValueError: for an unknown split or kind.
    """
    if split not in ("train", "heldout"):
        raise ValueError(f"tasks.split: '{split}' is not a split; choose train or heldout")
    unknown = set(kinds or ()) - set(KINDS)
    if unknown:
        raise ValueError(f"tasks.kinds: {sorted(unknown)} are not kinds; choose from: {', '.join(KINDS)}")
    groups = ("trained",) if split == "train" else HELDOUT_GROUPS
    cycle = itertools.cycle([(kind, group) for group in groups for kind in _kinds_of(group, kinds or tuple(KINDS))])
    rng = Random(f"procedural/{split}/{seed}")
    tasks: list[Task] = []
    taken: set[str] = set()
    while len(tasks) < count:
        kind, group = next(cycle)
        template = _draw(kind, group, split, rng, taken)
        tasks.append(
            Task(
                family="procedural",
                kind=kind,
                split=split,
                group=group,
                id=f"{split}-{seed}-{len(tasks):05d}",
                prompt=template.prompt,
                answer=template.answer,
                grader=template.grader,
                setup=template.setup,
                toolset=template.toolset,
                min_cells=template.min_cells,
                fails_first=template.fails_first,
                expert=template.expert,
            )
        )
    return tasks


def _kinds_of(group: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    if group != "unseen_tool":
        return kinds
    # As many tasks as any other group has, all of the kind that has unseen tools.
    return ("tool",) * len(kinds) if "tool" in kinds else ()


def _draw(kind: str, group: str, split: str, rng: Random, taken: set[str]) -> TaskTemplate:
    """Draws until the content belongs to the split and is new."""
    while True:
        template = KINDS[kind](rng, group)
        key = digest_of([kind, template.key])
        if split_of(key) == split and key not in taken:
            taken.add(key)
            return template


def split_of(key: str) -> str:
    """The split that a content digest belongs to."""
    return "heldout" if int(key[:8], 16) / 16**8 < HELDOUT_SHARE else "train"
