"""Generates the family: which kind, which group, which split; ids and digests."""

from __future__ import annotations

import itertools
from random import Random

from rollout.families.base import Task
from rollout.families.procedural import math, sql, table, tool
from rollout.families.procedural.task_template import Draft
from rollout.trajectory import digest_of

KINDS = {"table": table.make, "sql": sql.make, "math": math.make, "tool": tool.make}
"""Kind → ``make(rng, group) -> Draft``."""

HELDOUT_SHARE = 0.25
"""Share of all possible tasks that belong to the held-out split."""

HELDOUT_GROUPS = ("trained", "trained", "trained", "unseen_wording", "unseen_tool")
"""The held-out split goes round these groups; an unseen tool exists only for the kind ``tool``."""


def generate(split: str, count: int, seed: int, kinds: tuple[str, ...] | None = None) -> list[Task]:
    """`count` different tasks of a split, the kinds (and on the held-out split the groups) in turn.

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
        draft = _draw(kind, group, split, rng, taken)
        tasks.append(
            Task(
                family="procedural",
                kind=kind,
                split=split,
                group=group,
                id=f"{split}-{seed}-{len(tasks):05d}",
                prompt=draft.prompt,
                answer=draft.answer,
                grader=draft.grader,
                setup=draft.setup,
                toolset=draft.toolset,
                min_cells=draft.min_cells,
                fails_first=draft.fails_first,
                expert=draft.expert,
            )
        )
    return tasks


def _kinds_of(group: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    if group != "unseen_tool":
        return kinds
    # As many tasks as a group of its size would have, all of the one kind that has unseen tools.
    return ("tool",) * len(kinds) if "tool" in kinds else ()


def _draw(kind: str, group: str, split: str, rng: Random, taken: set[str]) -> Draft:
    """Draws until the content belongs to the split and has not been drawn before."""
    while True:
        draft = KINDS[kind](rng, group)
        key = digest_of([kind, draft.key])
        if split_of(key) == split and key not in taken:
            taken.add(key)
            return draft


def split_of(key: str) -> str:
    """The split a content digest belongs to."""
    return "heldout" if int(key[:8], 16) / 16**8 < HELDOUT_SHARE else "train"
