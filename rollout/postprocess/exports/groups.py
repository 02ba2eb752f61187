"""Episodes of one prompt with their rewards (GRPO), episodes with a label (KTO), and the best episodes (SFT)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from rollout.bank.trajectory import Trajectory
from rollout.postprocess.exports.best import JUDGED, best_of, by_prompt, first_turn
from rollout.postprocess.exports.preference import Row, as_chat


def group_rows(trajectories: Iterable[Trajectory], smallest: int, left_out: Counter[str]) -> Iterator[Row]:
    """Rows ``{"prompt", "sampled_completions", "sampled_rewards"}``, one for each prompt.

    TRL's GRPOTrainer draws its own completions from ``prompt`` and hands the other columns to the reward functions, so
    none of them may be called ``completions``, which it passes itself.

    Args:
        smallest: groups of fewer episodes are left out; the advantage of a single one is 0.
    """
    for members in by_prompt(trajectories).values():
        rewards = [one.outcome.reward for one in members]
        if len(members) < smallest:
            left_out[f"prompts with fewer than {smallest} episodes"] += 1
            continue
        start = first_turn(members[0])
        yield {
            "prompt": as_chat(members[0].messages[:start]),
            "sampled_completions": [as_chat(one.messages[start:]) for one in members],
            "sampled_rewards": rewards,
            "task": members[0].task.id,
            "family": members[0].task.family,
            "ids": [one.id for one in members],
        }


def labelled_rows(trajectories: Iterable[Trajectory], left_out: Counter[str]) -> Iterator[Row]:
    """Rows ``{"prompt", "completion", "label"}`` of TRL's unpaired preference: the label is whether it was solved."""
    for one in trajectories:
        if one.outcome.reason not in JUDGED:
            left_out[f"episodes that ended with {one.outcome.reason}"] += 1
            continue
        start = first_turn(one)
        if start == len(one.messages):
            left_out["episodes without a turn"] += 1
            continue
        yield {
            "prompt": as_chat(one.messages[:start]),
            "completion": as_chat(one.messages[start:]),
            "label": one.outcome.success,
            "task": one.task.id,
            "family": one.task.family,
            "id": one.id,
        }


def best_rows(trajectories: Iterable[Trajectory], keep: int | None, left_out: Counter[str]) -> Iterator[Row]:
    """Rows ``{"messages"}`` of the best episodes of each task that solved it."""
    trajectories = list(trajectories)
    kept = best_of(trajectories, keep)
    solved = sum(one.outcome.success for one in trajectories)
    left_out["episodes that did not solve their task"] += len(trajectories) - solved
    left_out["episodes of tasks that have enough, or the same words"] += solved - len(kept)
    for one in kept:
        yield {"messages": as_chat(one.messages), "task": one.task.id, "family": one.task.family, "id": one.id}
