"""One call in square brackets, in the three formats of API-Bank: read from a turn, and written for a dialogue.

| form | a call |
|---|---|
| ``call_code`` | ``[Name(key='value')]``, or any Python |
| ``call_json`` | ``[{"action": "Name", "key": "value"}]`` |
| ``call_text`` | ``[Action: Name, key: value]`` |

Contract: what :func:`render_call` writes, the parser of its form reads as the same call. Text around a call is
allowed. Several calls are all read; what becomes of them is the caller's affair. Nothing runs here.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from rollout.bank.trajectory import ToolCall
from rollout.environment import Action

_CODE_CALL = re.compile(r"\[\s*[^\W\d]\w*\s*\(")
_TEXT_CALL = re.compile(r"\[\s*Action\s*:\s*([^\W\d]\w*)\s*", re.IGNORECASE)
_KEY = re.compile(r"\s*,?\s*([^\W\d]\w*)\s*:\s*")
_NEXT_KEY = re.compile(r"\s*,\s*[^\W\d]\w*\s*:\s")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_CLOSED = re.compile(r"\s*\]")
_AFTER_QUOTED = re.compile(r"\s*[,\]]")
MOST_CALLS = 8
"""Calls that are read from a turn; more are no call at all."""
_MOST_TRIED = 32
"""Brackets that are tried as the start or the end of a call."""


def parse_call_code(text: str, blocks: list[str]) -> Action:
    """Python that calls a function: blocks of code, the whole turn, or ``[Name(…)]`` in prose.

    Args:
        text: the turn.
        blocks: the blocks of code in it.
    """
    if blocks:
        code = "\n".join(blocks)
        return Action("proposal", code) if _has_call(code) else Action("invalid")
    if "```" in text:
        return Action("invalid")
    if _has_call(text.strip()):
        return Action("proposal", text.strip())
    found: list[str] = []
    position = 0
    for _ in range(_MOST_TRIED):
        start = _CODE_CALL.search(text, position)
        if start is None or len(found) > MOST_CALLS:
            break
        code = _expression(text, start.start())
        found += [code] if code else []
        position = start.start() + len(code) if code else start.end()
    return Action("proposal", "\n".join(found)) if found else Action("invalid")


def parse_call_json(text: str) -> Action:
    """The first JSON list of objects with ``action``, or the first such object. Half a list is no call."""
    decoder = json.JSONDecoder()
    for start in [match.start() for match in re.finditer(r"\[\s*\{|\{", text)][:_MOST_TRIED]:
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        items = found if isinstance(found, list) else [found]
        calls = [_json_call(item) for item in items]
        if calls and all(calls):
            return _calls(text, [call for call in calls if call])
    return Action("invalid")


def parse_call_text(text: str) -> Action:
    """Each ``[Action: Name, key: value]``. A value ends before the next ``, key:``, unless it is quoted or a list."""
    starts = list(_TEXT_CALL.finditer(text))
    calls = []
    for index, start in enumerate(starts):
        limit = starts[index + 1].start() if index + 1 < len(starts) else len(text)
        arguments = _text_arguments(text[start.end() : limit])
        if arguments is not None:
            calls.append(ToolCall(id="", name=start[1], arguments=json.dumps({"": arguments})))
    return _calls(text, calls)


def render_call(form: str, name: str, arguments: Mapping[str, Any]) -> str:
    """A call in a form.

    Args:
        form: ``call_code``, ``call_json`` or ``call_text``.
        name: the function.
        arguments: its arguments by name, JSON values.
    """
    return RENDER[form](name, arguments)


def _code(name: str, arguments: Mapping[str, Any]) -> str:
    return f"[{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})]"


def _json(name: str, arguments: Mapping[str, Any]) -> str:
    return json.dumps([{"action": name, **arguments}], ensure_ascii=False)


def _text(name: str, arguments: Mapping[str, Any]) -> str:
    return f"[{', '.join([f'Action: {name}', *(f'{key}: {_plain(value)}' for key, value in arguments.items())])}]"


def _plain(value: Any) -> str:
    """A value without quotes, where it is then read as the same."""
    if not isinstance(value, str):
        return repr(value)
    misread = not value.strip() or value != value.strip() or value[0] in "'\"[{" or re.search(r"[\[\]\\\n\r]", value)
    return repr(value) if misread or _NEXT_KEY.search(f"{value} ") or value.endswith(",") else value


RENDER: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "call_code": _code,
    "call_json": _json,
    "call_text": _text,
}
"""Form → what writes a call."""


def _calls(text: str, calls: list[ToolCall]) -> Action:
    if not calls or len(calls) > MOST_CALLS:
        return Action("invalid")
    return Action("proposal", text.strip(), tuple(calls))


def _has_call(code: str) -> bool:
    """Whether a text is Python with a call in it."""
    try:
        return any(isinstance(node, ast.Call) for node in ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False


def _expression(text: str, start: int) -> str:
    """The list that begins here, when it is Python; empty otherwise."""
    ends = [match.end() for match in re.finditer(r"\)\s*,?\s*\]", text[start:])][:_MOST_TRIED]
    return next((code for end in ends if _has_call(code := text[start : start + end])), "")


def _json_call(item: Any) -> ToolCall | None:
    if not isinstance(item, dict) or not isinstance(item.get("action"), str):
        return None
    arguments = {key: value for key, value in item.items() if key != "action"}
    return ToolCall(id="", name=item["action"], arguments=json.dumps(arguments))


def _text_arguments(text: str) -> list[str] | None:
    """``key=value`` for each argument, the value as a Python literal; None when the bracket is not closed."""
    found: list[str] = []
    position = 0
    while not _CLOSED.match(text, position):
        key = _KEY.match(text, position)
        if key is None:
            return None
        value, position = _text_value(text, key.end())
        if not value:
            return None
        found.append(f"{key[1]}={value}")
    return found


def _text_value(text: str, start: int) -> tuple[str, int]:
    """A value as a Python literal, and where it ends; empty when it has no end."""
    quoted = _QUOTED.match(text, start)
    if quoted and _AFTER_QUOTED.match(text, quoted.end()):
        return quoted[0], quoted.end()
    if text[start : start + 1] in ("[", "{"):
        end = _closing(text, start)
        return text[start:end], end
    following = _NEXT_KEY.search(text, start)
    end = following.start() if following else len(text)
    closing = text.find("]", start, end)
    end = closing if closing >= 0 else end if following else start
    return repr(text[start:end].strip()) if end > start else "", end


def _closing(text: str, start: int) -> int:
    """Where the brackets that open here are closed; ``start`` when they are not. Brackets in quotes do not count."""
    depth, position = 0, start
    while position < len(text):
        quoted = _QUOTED.match(text, position) if text[position] in "'\"" else None
        if quoted:
            position = quoted.end()
            continue
        depth += (text[position] in "[{") - (text[position] in "]}")
        position += 1
        if not depth:
            return position
    return start
