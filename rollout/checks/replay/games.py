"""The reference's rule for games, where ours differs.

A game of the reference ends when it is won and at its limit of commands, and its episode counts as solved when any
command ended the game. So an agent that sends :data:`COMMANDS` commands is recorded as successful, whatever it reached.
Here only the goal counts.
"""

from __future__ import annotations

from rollout.bank.trajectory import Trajectory

COMMANDS = 50
"""The limit of the reference's games, one a call of a function."""


def reference_calls_it_won(trajectory: Trajectory) -> bool:
    """Whether the reference's rule calls a replayed game won: its goal or its limit was reached."""
    return trajectory.outcome.success or trajectory.usage.tool_calls >= COMMANDS
