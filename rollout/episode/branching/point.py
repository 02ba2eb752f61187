"""Where an episode is branched."""

from __future__ import annotations

from typing import Literal

from rollout.bank.trajectory import Trajectory

At = Literal["before", "after"]


def first_error(trajectory: Trajectory, at: At) -> int | None:
    """The point at which to branch at the first cell that failed; None when no cell failed.

    Args:
        at: ``before``: the turn with the failing cell is drawn again; ``after``: the model sees its error and repairs.

    Returns:
        Index of the first message that is not the parent's, see :class:`rollout.bank.trajectory.Branch`.
    """
    for index, message in enumerate(trajectory.messages):
        if message.cell is not None and message.cell.status != "ok" and index > 0:
            return index - 1 if at == "before" else index + 1
    return None
