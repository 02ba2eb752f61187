"""The battery as Markdown: the published list of agents, and a row for each attempt."""

from __future__ import annotations

from collections.abc import Sequence

from eval.forging.agent import Agent
from eval.forging.agents import AGENTS
from eval.forging.battery import Attempt

HEAD = "| group | agent | task | ended | what was seen | s |\n|---|---|---|---|---|---|"


def row(attempt: Attempt) -> str:
    """One line of the table under :data:`HEAD`."""
    ending = attempt.ending.upper() if attempt.fault else attempt.ending
    cells = (attempt.group, attempt.agent, attempt.task, ending, attempt.seen, f"{attempt.seconds:.2f}")
    return _line(cells)


def summary(attempts: Sequence[Attempt]) -> str:
    """One sentence about all attempts."""
    cheats = [one for one in attempts if one.ending in ("held", "scored", "escaped")]
    honest = [one for one in attempts if one not in cheats]
    scored, escaped = (sum(one.ending == ending for one in cheats) for ending in ("scored", "escaped"))
    return (
        f"{scored} of {len(cheats)} cheating agents scored, {escaped} escaped the count; "
        f"{sum(one.ending == 'solved' for one in honest)} of {len(honest)} honest agents solved their task"
    )


def published(agents: Sequence[Agent] = AGENTS) -> str:
    """The list of agents as the documentation has it."""
    lines = ["| agent | task | tries | stopped because |", "|---|---|---|---|"]
    return "\n".join([*lines, *(_line((one.name, one.task, one.tries, one.stopped_by)) for one in agents)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "/") for cell in cells) + " |"
