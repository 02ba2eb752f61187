"""What happened in the turns of an episode.

Contract: a turn is an assistant message. Whether its cell failed is what the kernel said; an episode that was recorded
without that, such as one of another system, is read by the text of its observation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rollout.bank.trajectory import Message, Trajectory, digest_of

_RAISED = re.compile(r"^Cell In\[\d+\]|Traceback \(most recent call last\)|^\w*(?:Error|Exception): ", re.MULTILINE)


def turns(trajectory: Trajectory) -> Iterator[tuple[Message, Message | None]]:
    """Every assistant turn with the reply to it."""
    messages = trajectory.messages
    for message, reply in zip(messages, [*messages[1:], None], strict=True):
        if message.role == "assistant" and message.kind != "instruction":
            yield message, reply if reply is not None and reply.role == "user" else None


def count_turns(trajectory: Trajectory) -> int:
    """Number of assistant turns."""
    return sum(1 for _ in turns(trajectory))


def cell_failed(turn: Message, reply: Message | None) -> bool | None:
    """Whether the cell of a turn failed; None for a turn without a cell, or without a reply."""
    if turn.kind != "action" or reply is None:
        return None
    if reply.cell is not None:
        return reply.cell.status != "ok"
    return _RAISED.search(reply.content) is not None


def repaired(trajectory: Trajectory) -> bool:
    """Whether a cell failed and a later one did not."""
    results = [failed for turn, reply in turns(trajectory) if (failed := cell_failed(turn, reply)) is not None]
    return True in results and False in results[results.index(True) :]


def text_digest(trajectory: Trajectory) -> str:
    """A digest that two episodes share when they say the same."""
    return digest_of([message.content for message in trajectory.messages])


def said(trajectory: Trajectory) -> list[str]:
    """The texts of an episode without its instructions."""
    return [message.content for message in trajectory.messages if message.kind != "instruction"]
