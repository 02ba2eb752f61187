"""The turns of a conversation, from the forms in which people write them.

Contract: ``read_turns`` returns turns with ``role``, ``content`` and ``weight``, or raises :class:`Refusal` with the
reason of the ledger. It reads CodeActInstruct's and OpenAI's keys (``role``, ``content``) and ShareGPT's (``from``,
``value``), contents in parts, and a system text beside the turns. Values of the wrong type stay as they are, for the
model of a record to name. Tool calls are written into text by ``tools``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codeact_train.config.prepare import ReadingSettings
from codeact_train.data.records import tools
from codeact_train.data.records.record import Reason

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}
"""Names of roles, in lower case. ``tool`` holds the result of a call, ``call`` nothing but a call."""

_TEXT_PARTS = ("text", "input_text", "output_text")
_REASONING_PARTS = ("reasoning", "thinking")
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_PLAIN = {"role", "content", "weight"}
_MASK_WORDS = ("train", "loss", "mask", "weight")
_WORD = re.compile(r"[A-Z]?[a-z]+")
_MASK_KEYS_OF_RECORD = {"weight", "weights", "train", "loss", "loss_mask", "loss_weight", "mask"}


class Refusal(Exception):
    """A conversation that cannot be read; ``reason`` is that of the ledger."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Turns:
    """Turns as plain values, and whether reasoning beside them was left out."""

    turns: list[Any]
    reasoning_left_out: bool = False


def read_turns(record: Mapping[str, Any], given: Sequence[Any], rules: ReadingSettings) -> Turns:
    """The turns of ``record``, whose conversation is ``given``."""
    _refuse_mask_keys(record, _MASK_KEYS_OF_RECORD, rules)
    if not record.keys() & {"system", "tools", "functions"} and all(map(_is_plain, given)):
        return Turns(list(given))
    read = _Reader(rules)
    turns = [read.turn(number, turn) if isinstance(turn, dict) else turn for number, turn in enumerate(given)]
    offered = tools.definitions(record)
    if offered and rules.tool_calls == "drop":
        raise Refusal("tool_calls", f"the record offers {len(offered)} tools; {tools.ADVICE}")
    turns = tools.with_results_as_text(turns)
    turns = _with_system(record.get("system"), turns)
    return Turns(tools.with_definitions(offered, turns), read.reasoning_left_out)


def _is_plain(turn: Any) -> bool:
    return (
        isinstance(turn, dict)
        and turn.keys() <= _PLAIN
        and turn.get("role") in ("system", "user", "assistant")
        and isinstance(turn.get("content"), str)
    )


class _Reader:
    """Reads the turns of one record."""

    def __init__(self, rules: ReadingSettings):
        self.rules, self.reasoning_left_out = rules, False

    def turn(self, number: int, turn: dict[str, Any]) -> dict[str, Any]:
        """One turn; its role may still be ``tool``."""
        name = turn.get("role", turn.get("from"))
        role = ROLES.get(name.strip().lower(), name) if isinstance(name, str) else name
        content = next((turn[key] for key in ("content", "value") if turn.get(key) is not None), None)
        parts = _Parts(number, content) if isinstance(content, list) else None
        text = parts.text if parts else content
        calls = [*tools.calls_of(turn), *(parts.calls if parts else ())]
        if role == "call":
            role, text, calls = "assistant", "", [*calls, *tools.written_calls(content)]
        if (calls or role == "tool") and self.rules.tool_calls == "drop":
            what = f"calls {', '.join(tools.names(calls))}" if calls else f"has the role {name!r}"
            raise Refusal("tool_calls", f"turn {number} {what}; {tools.ADVICE}")
        if calls:
            text = tools.with_calls(text or "", calls)
        thoughts = [turn[key] for key in _REASONING_KEYS if isinstance(turn.get(key), str) and turn[key]][:1]
        thoughts += parts.reasoning if parts else []
        if role == "assistant" and thoughts:
            text = self._with_reasoning("\n".join(thoughts), text)
        out = {"role": role, "content": text, "weight": self._weight(number, turn)}
        return {key: value for key, value in out.items() if value is not None or key in turn}

    def _with_reasoning(self, thoughts: str, text: Any) -> Any:
        if self.rules.reasoning == "text" and isinstance(text, str | None):
            return f"<think>\n{thoughts}\n</think>\n\n{text or ''}"
        self.reasoning_left_out = True
        return text

    def _weight(self, number: int, turn: dict[str, Any]) -> Any:
        weight = turn.get("weight")
        for key, value in turn.items():
            if value is None or key == "weight" or not _says_mask(key):
                continue
            meaning = self.rules.mask_keys.get(key)
            if meaning is None:
                raise Refusal("mask_key", f"turn {number} has {key}={_short(value)}, {_advice(key)}")
            if meaning == "weight":
                if not isinstance(value, int | float) or weight is not None:
                    given = f"{key}={_short(value)}" + ("" if weight is None else f" and weight={weight}")
                    raise Refusal("mask_key", f"turn {number} has {given}; give one of them, as a number or a bool")
                weight = float(value)
        return weight


class _Parts:
    """A content in parts: its text, reasoning and calls."""

    def __init__(self, number: int, parts: list[Any]):
        self.reasoning: list[str] = []
        self.calls: list[Any] = []
        texts: list[str] = []
        for part in parts:
            kind, text = ("text", part) if isinstance(part, str) else _kind_and_text(part)
            if kind in _TEXT_PARTS and isinstance(text, str):
                texts.append(text)
            elif kind in _REASONING_PARTS and isinstance(text, str):
                self.reasoning.append(text)
            elif kind == "tool_call":
                self.calls += tools.written_calls(text)
            else:
                raise Refusal("bad_record", f"turn {number} has a part of type {kind}; only text can be trained")
        self.text = "".join(texts)


def _kind_and_text(part: Any) -> tuple[Any, Any]:
    if not isinstance(part, dict):
        return type(part).__name__, None
    kind = part.get("type", "text")
    return kind, next((part[key] for key in ("text", "value", "content", kind) if part.get(key) is not None), None)


def _with_system(text: Any, turns: list[Any]) -> list[Any]:
    """The turns after the system text that a record gives beside them."""
    if not isinstance(text, str) or not text:
        return turns
    if turns and isinstance(turns[0], dict) and turns[0].get("role") == "system":
        if turns[0].get("content") == text:
            return turns
        raise Refusal("bad_record", "system: the record has a system text and a system turn that differ; keep one")
    return [{"role": "system", "content": text}, *turns]


def _refuse_mask_keys(values: Mapping[str, Any], keys: set[str], rules: ReadingSettings) -> None:
    """Refuses keys of a record that only a turn can have."""
    for key in keys & values.keys():
        if values[key] is not None and rules.mask_keys.get(key) != "ignore":
            detail = f"the record has {key}={_short(values[key])}, and only a turn has a weight"
            raise Refusal("mask_key", f"{detail}; move it there, or set prepare.reading.mask_keys.{key}=ignore")


def _says_mask(key: str) -> bool:
    """Whether a key is about the loss: one of its words begins as the usual ones do, or is ``weight`` misspelt."""
    words = [word.lower() for word in _WORD.findall(key)]
    return any(
        word.startswith(_MASK_WORDS)
        or (word.startswith("w") and difflib.get_close_matches(word, ["weight", "weights"], cutoff=0.75))
        for word in words
    )


def _advice(key: str) -> str:
    return (
        f"which is no key of a turn; write `weight`, or set prepare.reading.mask_keys.{key}=weight (false is 0), or "
        "=ignore"
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:60] + "…"
