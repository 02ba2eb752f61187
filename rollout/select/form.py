"""Episodes as training records.

Contract: a record is ``{"id", "source", "group", "conversations": [{"role", "content", "weight"?}]}``. The group is the
task: all its episodes are held out together, or none. Two forms:

- ``episode``: the messages as they were.
- ``codeactinstruct``: the form of the paper's data set (section 3.1; its published notebooks). The prompt becomes a
  system and a user turn without the in-context example; thought tags and the sentence about them go, the thoughts
  stay; ``Assistant:`` in front of a turn goes, as a prefix (the reference strips a set of characters, and loses the
  first letters of words); replies of the environment stay user turns; the other tags stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rollout.bank.trajectory import Message, Trajectory
from rollout.select.config import SelectConfig
from rollout.select.turns import cell_failed

_SPEAKER = re.compile(r"\A(?:\s*Assistant\s*[:：])+\s*")
_BLOCKS = re.compile(r"(<(execute|solution)>.*?(?:</\2>|\Z))", re.DOTALL)
_THOUGHT = re.compile(r"<thought>[ \t]*\n?|\n?[ \t]*</thought>")
_PART = re.compile(r"\n---\n+")
_TASK = re.compile(r"\n---\n+(?=Task:)")
_SENTENCE = re.compile(r"[^\n.!?]*(?:\.(?=\S)[^\n.!?]*)*(?:[.!?]+[ \t]*|\n|\Z)")


def to_record(trajectory: Trajectory, config: SelectConfig) -> dict[str, Any]:
    """A training record."""
    source = f"{trajectory.task.family}/{trajectory.task.kind}"
    if config.form == "codeactinstruct":
        turns = _codeactinstruct(trajectory, config)
        name = f"{source}/{trajectory.task.id}/{trajectory.model}/{trajectory.protocol.name}"
        name += f"/{trajectory.seed}" if trajectory.seed else ""
        group = f"{trajectory.task.family}/{trajectory.task.id}"
    else:
        turns = _episode(trajectory.messages, config)
        name, group = f"{trajectory.task.id}/{trajectory.id}", trajectory.task.id
    return {"id": name, "source": source, "group": group, "conversations": turns}


def to_records(kept: Iterable[Trajectory], config: SelectConfig) -> list[dict[str, Any]]:
    """Records with different ids: where two episodes share one, the id of the later gets that of its trajectory."""
    records, seen = [], set()
    for trajectory in kept:
        record = to_record(trajectory, config)
        if record["id"] in seen:
            record["id"] += f"/{trajectory.id}"
        seen.add(record["id"])
        records.append(record)
    return records


def _episode(messages: Iterable[Message], config: SelectConfig) -> list[dict[str, Any]]:
    messages = list(messages)
    turns: list[dict[str, Any]] = []
    for message, reply in zip(messages, [*messages[1:], None], strict=True):
        turn: dict[str, Any] = {"role": message.role, "content": _with_reasoning(message, message.content, config)}
        if message.kind == "action" and reply and reply.cell and reply.cell.status != "ok":
            turn["weight"] = config.failed_cell_weight
        if message.role == "assistant" and message.kind == "instruction":  # an example of the prompt
            turn["weight"] = 0.0
        turns.append(turn)
    return turns


def _codeactinstruct(trajectory: Trajectory, config: SelectConfig) -> list[dict[str, Any]]:
    instructions, task, rest = _parts(trajectory.messages)
    turns: list[dict[str, Any]] = [{"role": "system", "content": instructions}] if instructions else []
    turns.append({"role": "user", "content": task})
    if rest and rest[-1].role == "user":
        rest = rest[:-1]  # nothing follows that could be trained
    for message, reply in zip(rest, [*rest[1:], None], strict=True):
        if message.role != "assistant":
            turns.append({"role": message.role, "content": message.content})
            continue
        turn: dict[str, Any] = {"role": "assistant", "content": _with_reasoning(message, _said(message), config)}
        if config.failed_cell_weight != 1 and cell_failed(message, reply):
            turn["weight"] = config.failed_cell_weight
        turns.append(turn)
    return turns


def _parts(messages: tuple[Message, ...]) -> tuple[str, str, list[Message]]:
    """Instructions, task, and the messages after the prompt."""
    prompt = [message for message in messages if message.kind in ("instruction", "task")]
    rest = [message for message in messages if message.kind not in ("instruction", "task")]
    first = prompt[0].content if prompt else ""
    asked = next((message.content for message in prompt if message.kind == "task"), first)
    pieces = _TASK.split(first) if first == asked else [first, asked]  # one message with all parts, or two
    task = pieces[-1].strip()
    if not task.startswith("Task:"):
        task = f"Task:\n{task}"
    instructions = _PART.split(pieces[0])[0] if len(pieces) > 1 else ""
    return _without_thought_sentence(instructions), task, rest


def _said(message: Message) -> str:
    """What the assistant says, without its name in front and without thought tags outside of code and answers."""
    pieces = _BLOCKS.split(_SPEAKER.sub("", message.content))
    texts = [_THOUGHT.sub("", pieces[0]).lstrip()]
    for at in range(1, len(pieces), 3):
        texts += [pieces[at], _THOUGHT.sub("", pieces[at + 2])]
    return "".join(texts).rstrip()


def _without_thought_sentence(text: str) -> str:
    """The text without the sentences that name the thought tag."""
    kept = (sentence for sentence in _SENTENCE.findall(text) if "<thought>" not in sentence)
    return "".join(kept).strip()


def _with_reasoning(message: Message, content: str, config: SelectConfig) -> str:
    if config.reasoning and message.reasoning:
        return f"<think>\n{message.reasoning}\n</think>\n\n{content}"
    return content
