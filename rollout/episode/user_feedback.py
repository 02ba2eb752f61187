"""Feedback of a simulated user, written by the judge's engine (MINT, arXiv 2309.10691, section 2.2).

Contract: :func:`with_feedback` adds a text to the reply of an environment. The judge reads the conversation, that reply
and, when the protocol says so, the reference answer. Four kinds follow: in words or one word, with the reference or
without. What the judge uses is counted apart (:mod:`rollout.engines.judge`). A reply that ends the episode gets none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rollout.bank.trajectory import Message
from rollout.engines.judge import current_judge
from rollout.environment import Observation
from rollout.protocol import UserFeedback

HEADING = "Feedback:"
_ROLE = (
    "You watch an assistant that solves a task in turns with a Python interpreter. You are an expert, and the "
    "assistant reads what you write before its next turn."
)
_ASKED = {
    "textual": "Give feedback on the last turn in at most three sentences: what is right, what is wrong, what to try. "
    "Do not write the code and do not say the answer.",
    "binary": "Is the last turn a step in the right direction? Reply with one word: GOOD or BAD.",
}
_VERDICT = re.compile(r"\b(good|bad)\b", re.IGNORECASE)


async def with_feedback(
    kind: UserFeedback, messages: Sequence[Message], reply: Observation, reference: str
) -> Observation:
    """The reply with the feedback at its end.

    Args:
        messages: the conversation before the reply.
        reference: the task's answer; the judge sees it only when ``kind.reference`` says so.

    Raises:
        EngineError: the judge does not answer.
        ValueError: no judge is configured.
    """
    said = await current_judge().ask_async(question(kind, messages, reply, reference))
    text = f"\n{HEADING}\n{_worded(kind, said)}"
    results = (*reply.results[:-1], f"{reply.results[-1]}{text}") if reply.results else None
    return replace(reply, content=f"{reply.content}{text}", results=results)


def question(kind: UserFeedback, messages: Sequence[Message], reply: Observation, reference: str) -> list[Message]:
    """What the judge is asked."""
    spoken = [f"[{message.role}]\n{message.content}" for message in messages] + [f"[user]\n{reply.content}"]
    parts = ["The conversation so far:", *spoken]
    if kind.reference:
        parts.append(f"The right answer, which the assistant does not know:\n{reference}")
    parts.append(_ASKED[kind.form])
    return [
        Message(role="system", kind="instruction", content=_ROLE),
        Message(role="user", kind="task", content="\n\n".join(parts)),
    ]


def _worded(kind: UserFeedback, said: str) -> str:
    """A binary verdict is one fixed sentence; a judge that says neither word has found nothing good."""
    if kind.form == "textual":
        return said.strip()
    found = _VERDICT.search(said)
    return f"This is {found[1].lower() if found else 'bad'}."
