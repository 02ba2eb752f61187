"""Conversations of ShareGPT: roles and texts in one form, then the paper's filters.

Contract: roles become ``system``, ``user`` and ``assistant``; a turn of Bing is what a user pastes and is marked as
such; ``\\_`` becomes ``_``; turns that say where a conversation was shared are removed. A conversation with another
role, such as calls of tools, is dropped and counted. The filters are those of the paper's scripts, in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from launch.mixture.steps import Conversation, Row, Steps, Turn, record

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "assistant": "assistant",
    "system": "system",
    "bing": "user",
}
_SHARED = "This chat conversation is shared from"
_TURNS = ("conversations", "items", "messages", "conversation")


def sharegpt(rows: Iterable[Row], steps: Steps, *, source: str, min_turns: int) -> Iterator[dict[str, Any]]:
    """The records of a file of ShareGPT."""
    named = ((str(row.get("id", number)), _conversation(row)) for number, row in enumerate(rows))
    kept = steps.through("roles are known", named, lambda one: one[1] is not None)
    kept = steps.through(f"at least {min_turns} turns", kept, lambda one: len(one[1]) >= min_turns)
    kept = steps.through("has a user", kept, lambda one: _has(one[1], "user"))
    kept = steps.through("has an assistant", kept, lambda one: _has(one[1], "assistant"))
    kept = steps.through("no turn is Cancelled", kept, lambda one: all(t["content"] != "Cancelled" for t in one[1]))
    kept = steps.through("the assistant is not first", kept, lambda one: one[1][0]["role"] != "assistant")
    kept = steps.through("no two assistant turns", kept, lambda one: not _twice(one[1], "assistant"))
    kept = steps.through("no two user turns", kept, lambda one: not _twice(one[1], "user"))
    for name, conversation in _distinct(kept):
        yield record(f"{source}/{name}", source, conversation)


def _conversation(row: Row) -> Conversation | None:
    """The turns of a row in one form; None for one with another role or without texts."""
    given = next((row[key] for key in _TURNS if isinstance(row.get(key), list)), None)
    turns: Conversation = []
    for turn in given or ():
        made = _turn(turn)
        if made is None:
            return None
        if _SHARED not in made["content"]:
            turns.append(made)
    return turns if given is not None else None


def _turn(turn: Any) -> Turn | None:
    if not isinstance(turn, dict):
        return None
    name = str(turn.get("from", turn.get("role"))).lower()
    text = turn.get("value", turn.get("content"))
    if isinstance(text, list):  # parts of a content
        parts = [part.get("text", part.get("value")) for part in text if isinstance(part, dict)]
        plain = len(parts) == len(text) and all(part.get("type", "text") == "text" for part in text)
        text = "".join(map(str, parts)) if plain else None
    if name not in ROLES or not isinstance(text, str):
        return None
    text = text.replace("\\_", "_")
    return {"role": ROLES[name], "content": f"Bing Search Result:\n{text}" if name == "bing" else text}


def _has(conversation: Conversation, role: str) -> bool:
    return any(turn["role"] == role for turn in conversation)


def _twice(conversation: Conversation, role: str) -> bool:
    return any(one["role"] == other["role"] == role for one, other in pairwise(conversation))


def _distinct(named: Iterable[tuple[str, Conversation]]) -> Iterator[tuple[str, Conversation]]:
    """Conversations with different names: a repeated one gets its number among those of its name."""
    seen: dict[str, int] = {}
    for name, conversation in named:
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name}-{seen[name]}"), conversation
