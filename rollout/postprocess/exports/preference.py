"""Preference pairs for DPO: of two episodes that begin alike, the one that solved the task is preferred.

Contract: a pair shares its prompt: all messages until the two episodes differ. With ``turn`` (the default) the
completions are the single turns in which they differ. A trainer then learns nothing from observations, which an
environment wrote; TRL's DPO would train them in a longer completion. With ``episode`` the completions go on to the end.
A branch drawn before the failed turn (``repair.at: before``) and its parent differ in that very turn, so such pairs
come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from rollout.bank.trajectory import Message, Trajectory
from rollout.postprocess.exports.best import by_prompt, rank

Completion = Literal["turn", "episode"]
Row = dict[str, Any]


def preference_rows(
    trajectories: Iterable[Trajectory], completion: Completion, most_per_task: int, left_out: Counter[str]
) -> Iterator[Row]:
    """Rows ``{"prompt", "chosen", "rejected"}``, each a list of messages, with the ids of the two episodes.

    Args:
        most_per_task: pairs of one prompt at most.
        left_out: counts the prompts and pairs that give no row, by reason.
    """
    for members in by_prompt(trajectories).values():
        solved = sorted((one for one in members if one.outcome.success), key=rank)
        failed = sorted((one for one in members if not one.outcome.success), key=rank)
        if not solved or not failed:
            left_out["tasks that every episode solved" if solved else "tasks that no episode solved"] += 1
            continue
        seen: set[str] = set()
        for chosen, rejected in _pairs(solved, failed):
            if len(seen) >= most_per_task:
                left_out["pairs above the number for a task"] += 1
                continue
            row = _row(chosen, rejected, completion)
            if isinstance(row, str):
                left_out[row] += 1
            elif (words := repr((row["prompt"], row["chosen"], row["rejected"]))) in seen:
                left_out["pairs with the same words"] += 1
            else:
                seen.add(words)
                yield row


def _pairs(solved: Sequence[Trajectory], failed: Sequence[Trajectory]) -> list[tuple[Trajectory, Trajectory]]:
    """Every pair: branches with their parents, then the others; both from the best to the worst."""
    pairs = [(chosen, rejected) for chosen in solved for rejected in failed]
    return sorted(pairs, key=lambda pair: pair[0].branch is None or pair[0].branch.parent != pair[1].id)


def _row(chosen: Trajectory, rejected: Trajectory, completion: Completion) -> Row | str:
    """The row, or why there is none."""
    shared = 0
    for left, right in zip(chosen.messages, rejected.messages, strict=False):
        if (left.role, left.content) != (right.role, right.content):
            break
        shared += 1
    else:
        return "pairs of which one goes on where the other ends"
    if chosen.messages[shared].role != "assistant" or rejected.messages[shared].role != "assistant":
        return "pairs that differ first in an observation"
    end = shared + 1 if completion == "turn" else None
    return {
        "prompt": as_chat(chosen.messages[:shared]),
        "chosen": as_chat(chosen.messages[shared:end]),
        "rejected": as_chat(rejected.messages[shared:end]),
        "task": chosen.task.id,
        "family": chosen.task.family,
        "chosen_id": chosen.id,
        "rejected_id": rejected.id,
    }


def as_chat(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Messages in the form of chat templates."""
    return [{"role": message.role, "content": message.content} for message in messages]
