"""Best-of-n and rejection sampling: which of a task's episodes are kept. Pure functions of trajectories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rollout.bank.trajectory import Trajectory

JUDGED = ("solved", "wrong_answer", "failed", "max_steps", "max_invalid", "context_full")
"""Reasons for which the model is responsible. Deadlines and errors say nothing about it."""


def rank(one: Trajectory) -> tuple[float, int, int, str]:
    """Sorts the better of two episodes first: reward, then few turns, few failed cells; the id decides the rest."""
    return -one.outcome.reward, one.usage.steps, one.usage.error_cells, one.id


def best_of(trajectories: Iterable[Trajectory], keep: int | None = 1) -> list[Trajectory]:
    """Of each task the ``keep`` best episodes that solved it; None keeps all of them (rejection sampling).

    Episodes with the same words count once. The order is that of the trajectories.
    """
    trajectories = list(trajectories)
    tasks: dict[str, dict[str, Trajectory]] = defaultdict(dict)
    for one in sorted((one for one in trajectories if one.outcome.success), key=rank):
        tasks[one.task.digest].setdefault("\0".join(message.content for message in one.messages), one)
    kept = {one.id for different in tasks.values() for one in list(different.values())[:keep]}
    return [one for one in trajectories if one.id in kept]


def by_prompt(trajectories: Iterable[Trajectory]) -> dict[tuple[str, ...], list[Trajectory]]:
    """The judged episodes that begin with the same prompt, in the order in which their prompts occur; ids sorted."""
    groups: dict[tuple[str, ...], list[Trajectory]] = defaultdict(list)
    for one in trajectories:
        if one.outcome.reason in JUDGED:
            prompt = tuple(message.content for message in one.messages[: first_turn(one)])
            groups[(one.task.digest, *prompt)].append(one)
    return {prompt: sorted(members, key=lambda one: one.id) for prompt, members in groups.items()}


def first_turn(one: Trajectory) -> int:
    """Index of the first assistant turn that is no example."""
    turns = (
        index
        for index, message in enumerate(one.messages)
        if message.role == "assistant" and message.kind != "instruction"
    )
    return next(turns, len(one.messages))
