"""Where an episode is branched, and which of its branches is kept. Pure functions of trajectories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from rollout.trajectory import Trajectory

At = Literal["before", "after"]


def first_error(trajectory: Trajectory, at: At) -> int | None:
    """The point at which to branch at the first cell that failed; None when no cell failed.

    Args:
        at: ``before``: the turn with the failing cell is drawn again; ``after``: the model sees its error and repairs.

    Returns:
        Index of the first message that is not the parent's, see :class:`rollout.trajectory.Branch`.
    """
    for index, message in enumerate(trajectory.messages):
        if message.cell is not None and message.cell.status != "ok" and index > 0:
            return index - 1 if at == "before" else index + 1
    return None


def best_branches(trajectories: Iterable[Trajectory], keep: int = 1) -> list[Trajectory]:
    """Everything that is no branch, and of each parent's branches the ``keep`` best that solved the task.

    The best have the highest reward, then the fewest turns, the fewest failed cells and the smallest id. The order of
    the trajectories stays.
    """
    trajectories = list(trajectories)
    branches: dict[str, list[Trajectory]] = defaultdict(list)
    for one in trajectories:
        if one.branch is not None and one.outcome.success:
            branches[one.branch.parent].append(one)
    kept = {one.id for group in branches.values() for one in sorted(group, key=_rank)[:keep]}
    return [one for one in trajectories if one.branch is None or one.id in kept]


def _rank(one: Trajectory) -> tuple[float, int, int, str]:
    return -one.outcome.reward, one.usage.steps, one.usage.error_cells, one.id
