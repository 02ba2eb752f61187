"""The rules that look at one episode alone: success, length, and the paper's filters.

Contract: a rule returns why an episode is dropped, in a few words that are the same for all episodes it drops, or None.
The paper's filters are those of its published code; the docstring of each says where ours differs.
"""

from __future__ import annotations

from collections.abc import Callable

from rollout.bank.trajectory import Trajectory
from rollout.select.config import Rule, SelectConfig
from rollout.select.turns import cell_failed, count_turns, repaired, turns

Reject = Callable[[Trajectory], str | None]


def solved_and_long_enough(config: SelectConfig) -> Reject:
    """``successes_only`` and ``min_steps``."""

    def reject(trajectory: Trajectory) -> str | None:
        if config.successes_only and not trajectory.outcome.success:
            return f"not solved: {trajectory.outcome.reason}"
        if trajectory.usage.steps < config.min_steps:
            return f"fewer than {config.min_steps} steps"
        return None

    return reject


def excluded_family(config: SelectConfig) -> Reject:
    """``exclude_families``."""

    def reject(trajectory: Trajectory) -> str | None:
        family = trajectory.task.family
        return f"family {family} is excluded" if family in config.exclude_families else None

    return reject


def native_calls(trajectory: Trajectory) -> str | None:
    """A record holds the text of turns, and native calls are no part of it."""
    return "native calls" if any(message.tool_calls for message in trajectory.messages) else None


def clean_cell(trajectory: Trajectory) -> str | None:
    """``require_clean_cell``: some cell ran without an error."""
    usage = trajectory.usage
    return "no cell without an error" if usage.cells - usage.error_cells < 1 else None


def no_repair(trajectory: Trajectory) -> str | None:
    """``repairs: require``."""
    return None if repaired(trajectory) else "no error that was repaired"


def _executable(trajectory: Trajectory) -> str | None:
    """The paper's second filter: as many invalid turns as turns, but for the last."""
    before_last = count_turns(trajectory) - 1
    invalid = sum(turn.kind == "invalid" for turn, _ in turns(trajectory))
    return "never executable" if before_last > 0 and invalid == before_last else None


def _alternating(trajectory: Trajectory) -> str | None:
    """The paper's third filter: without the prompt and the last message, an even number of messages.

    Ours compares the roles, which also finds two errors that cancel out. A reply after the last turn does not count.
    """
    roles = [message.role for message in trajectory.messages if message.kind not in ("instruction", "task")]
    if roles and roles[-1] != "assistant":
        roles.pop()
    expected = ["assistant" if place % 2 == 0 else "user" for place in range(len(roles))]
    return None if roles and roles == expected else "turns do not alternate"


def _useful_turn(trajectory: Trajectory) -> str | None:
    """The paper's fourth filter: every turn but the last was a proposal, or code whose observation holds "Error".

    Ours asks whether the cell failed: output such as "Mean Squared Error" is no failure, a timeout is one.
    """
    before_last = list(turns(trajectory))[:-1]
    useless = [turn.kind == "proposal" or cell_failed(turn, reply) is True for turn, reply in before_last]
    return "only errors and wrong answers before the last turn" if useless and all(useless) else None


PAPER_RULES: dict[Rule, Reject] = {
    "executable": _executable,
    "alternating": _alternating,
    "useful_turn": _useful_turn,
}
"""``rules`` by name."""
