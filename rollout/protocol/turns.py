"""What a model's turn says: an action, an answer, or neither.

Contract: :func:`parse_turn` reads a turn in one of the forms of a protocol. It is linear in the length of the text and
runs nothing. Calls in JSON and text become :class:`rollout.bank.trajectory.ToolCall`; native calls arrive beside the
text.

| form | action | answer |
|---|---|---|
| ``tags`` | ``<execute>`` code | ``<solution>`` |
| ``chat`` | ``<execute>`` code | a turn without code |
| ``fenced`` | a block of code between ``` | ``<solution>`` |
| ``action_code`` | ``Action:`` and code | ``Answer:`` |
| ``action_json`` | ``Action:`` and ``{"tool", "args"}`` | ``Answer:`` |
| ``action_text`` | ``Action: tool, argument, … End Action`` | ``Answer:`` |
| ``action_command`` | ``Action:`` and a command in words, for the function ``act`` | ``Answer:`` |
| ``call_code``, ``call_json``, ``call_text`` | – | one call (:mod:`rollout.protocol.calls`) |
| ``calls_python``, ``calls_json`` | – | all calls, or none (:mod:`rollout.protocol.call_lists`) |
| ``tools`` | native calls | a turn without a call |
| ``answer`` | none | the turn |
| ``choice``, ``choice_text`` | none | the most probable of the task's choices (:mod:`rollout.codeact.choices`) |
| ``final`` | none | what follows the last ``####`` or "answer is", or stands in the last ``\\boxed{}`` |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Literal

from rollout.bank.trajectory import ToolCall
from rollout.environment import Action
from rollout.protocol.call_lists import parse_calls_json, parse_calls_python
from rollout.protocol.calls import parse_call_code, parse_call_json, parse_call_text

Form = Literal[
    "tags", "chat", "fenced", "action_code", "action_json", "action_text", "action_command", "call_code", "call_json",
    "call_text", "calls_python", "calls_json", "tools", "answer", "final", "choice", "choice_text",
]  # fmt: skip

_EXECUTE = re.compile(r"<execute>(.*?)</execute>", re.DOTALL)
_SOLUTION = re.compile(r"<solution>((?:(?!<solution>).)*?)(?:</solution>|\Z)", re.DOTALL)
_THOUGHT = re.compile(r"<(think|thought)>.*?(?:</\1>|\Z)", re.DOTALL)
_FENCE = re.compile(r"[ \t]{0,3}```[ \t]*(\w*)[^`]*")
_KEYWORD = re.compile(r"^[ \t]*(Action|Answer)[ \t]*:", re.MULTILINE)
_MARK = re.compile(r"####|answer is:?|answer:", re.IGNORECASE)
_CODE_LANGUAGES = ("", "python", "py", "python3")


def parse_turn(text: str, form: Form) -> Action:
    """The action in an assistant turn."""
    return _FORMS[form](text)


def parse_tags(text: str) -> Action:
    """A text with a ``<solution>`` is a proposal, else one with an ``<execute>`` is a cell, else it is invalid.

    Several bodies of one kind are joined by newlines (paper section 2.2, MINT's rule). When a stop string or the token
    limit leaves a tag open, a solution counts as closed at the end; half a cell is never run. A text that mentions the
    tag ("I write <solution> and then <solution>42</solution>") has what follows the last of them.
    """
    return _proposal(text) or _cell(_tagged_cells(text))


def parse_chat(text: str) -> Action:
    """A text with an ``<execute>`` is a cell, any other is the answer, without the thoughts in it."""
    action = _cell(_tagged_cells(text))
    if action.kind == "action" or "<execute>" in text:  # half a cell is no answer
        return action
    return _answer(text)


def parse_fenced(text: str) -> Action:
    """A text with a ``<solution>`` is a proposal, else blocks of Python between ``` are a cell."""
    return _proposal(text) or _cell(_fenced_cells(text))


def parse_action_code(text: str) -> Action:
    """``Action:`` and code, in a block or not, up to ``End Action``; or ``Answer:``. Both or neither are invalid."""

    def read(body: str) -> Action:
        blocks = _fenced_cells(body) or _tagged_cells(body)
        return _cell(blocks or ([] if "```" in body else [body]))

    return _keyword(text, read)


def parse_action_json(text: str) -> Action:
    """``Action:`` and a JSON object with the name of a function and its arguments, a list or an object."""

    def read(body: str) -> Action:
        try:
            call, _ = json.JSONDecoder().raw_decode(body, body.index("{"))
            name, arguments = call["tool"], call.get("args", {})
        except (ValueError, KeyError, TypeError, RecursionError):
            return Action("invalid")
        if not isinstance(name, str) or not isinstance(arguments, list | dict):
            return Action("invalid")
        return Action("action", body.strip(), (ToolCall(id="", name=name, arguments=json.dumps(arguments)),))

    return _keyword(text, read)


def parse_action_text(text: str) -> Action:
    """``Action: function, argument, argument End Action``. Commas in quotes and brackets separate nothing."""

    def read(body: str) -> Action:
        name, *arguments = split_arguments(body.strip())
        if not name.isidentifier():
            return Action("invalid")
        return Action("action", body.strip(), (ToolCall(id="", name=name, arguments=json.dumps({"": arguments})),))

    return _keyword(text, read)


def parse_action_command(text: str) -> Action:
    """``Action:`` and a command of one line, which the function ``act`` of the task takes."""

    def read(body: str) -> Action:
        command = body.strip().partition("\n")[0].strip()
        if not command:
            return Action("invalid")
        return Action("action", command, (ToolCall(id="", name="act", arguments=json.dumps([command])),))

    return _keyword(text, read)


def split_arguments(text: str) -> list[str]:
    """The parts between the commas of a list, with quotes and brackets left as they are.

    A quote opens a string at the start of a part, after ``=`` and within brackets; an apostrophe in a word does not.
    """
    parts, depth, quote, start, fresh = [], 0, "", 0, True
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[index - 1] != "\\" else quote
        elif char in "\"'" and (fresh or depth):
            quote = char
        elif char in "[({":
            depth += 1
        elif char in "])}":
            depth = max(0, depth - 1)
        elif char == "," and not depth:
            parts.append(text[start:index].strip())
            start, fresh = index + 1, True
            continue
        fresh = char == "=" or (fresh and char.isspace())
    return [*parts, text[start:].strip()]


def parse_final(text: str) -> Action:
    """The answer of a text that reasons: in the last ``\\boxed{}``, or after the last mark, else the text."""
    said = _THOUGHT.sub("", text)
    boxed = _boxed(said)
    if boxed is not None:
        return _answer(boxed)
    marks = list(_MARK.finditer(said))
    if not marks:
        return _answer(said)
    rest = said[marks[-1].end() :].strip()
    return _answer(rest.partition("\n")[0].strip().removesuffix("."))


def _boxed(text: str) -> str | None:
    """The content of the last ``\\boxed{}`` whose braces are closed; None when there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for index in range(begin, len(text)):
        if text[index] == "}" and depth == 0:
            return text[begin:index]
        depth += (text[index] == "{") - (text[index] == "}")
    return None


def _proposal(text: str) -> Action | None:
    solutions = [body.strip() for body in _SOLUTION.findall(text)]
    return Action("proposal", "\n".join(solutions)) if solutions else None


def _tagged_cells(text: str) -> list[str]:
    closed = text[: text.rfind("</execute>") + len("</execute>")]  # else each open tag is searched to the end
    return [_aligned(body.strip("\n")) for body in _EXECUTE.findall(closed)]


def _aligned(code: str) -> str:
    """The code without spaces in front of its first line, as in ``<execute> a = 1``, where a later line has none."""
    first, _, rest = code.partition("\n")
    return code.lstrip(" \t") if first[:1].isspace() and re.search(r"^\S", rest, re.MULTILINE) else code


def _fenced_cells(text: str) -> list[str]:
    """The closed blocks of Python; half a block is never run."""
    cells: list[str] = []
    block: list[str] | None = None
    language = ""
    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line)
        if block is None and fence:
            block, language = [], fence[1].lower()
        elif block is not None and fence and not fence[1]:
            if language in _CODE_LANGUAGES:
                cells.append("\n".join(block).strip("\n"))
            block = None
        elif block is not None:
            block.append(line)
    return cells


def _cell(bodies: list[str]) -> Action:
    return Action("action", "\n".join(bodies)) if any(body.strip() for body in bodies) else Action("invalid")


def _answer(text: str) -> Action:
    answer = _THOUGHT.sub("", text).strip()
    return Action("proposal", answer) if answer else Action("invalid")


def _keyword(text: str, read: Callable[[str], Action]) -> Action:
    """A turn with ``Action:`` or ``Answer:``; the first of its kind counts."""
    found = list(_KEYWORD.finditer(text))
    if len({match[1] for match in found}) != 1:
        return Action("invalid")
    first = found[0]
    end = found[1].start() if len(found) > 1 else len(text)
    body = text[first.end() : end]
    if first[1] == "Answer":
        return Action("proposal", body.partition("End Answer")[0].strip())
    return read(body.partition("End Action")[0])


def _calls_python(text: str) -> Action:
    said = _THOUGHT.sub("", text)
    return parse_calls_python(said, _fenced_cells(said) or _tagged_cells(said))


_FORMS: dict[Any, Callable[[str], Action]] = {
    "tags": parse_tags,
    "chat": parse_chat,
    "fenced": parse_fenced,
    "action_code": parse_action_code,
    "action_json": parse_action_json,
    "action_text": parse_action_text,
    "action_command": parse_action_command,
    "call_code": lambda text: parse_call_code(text, _fenced_cells(text) or _tagged_cells(text)),
    "call_json": parse_call_json,
    "call_text": parse_call_text,
    "calls_python": _calls_python,
    "calls_json": lambda text: parse_calls_json(_THOUGHT.sub("", text)),
    "tools": _answer,
    "answer": _answer,
    "final": parse_final,
    "choice": _answer,
    "choice_text": _answer,
}
