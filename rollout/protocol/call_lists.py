"""Any number of calls in one turn, none included: read from a turn, and written (BFCL).

| form | two calls | no call |
|---|---|---|
| ``calls_python`` | ``[f(a=1), g.h(b='x')]``, or any Python | ``[]``, or a text without calls |
| ``calls_json`` | ``[{"name": "f", "arguments": {"a": 1}}, …]`` | ``[]``, or a text without such objects |

Contract: what :func:`render_calls` writes, the parser of its form reads as the same calls. Python is found here and
runs in a kernel; JSON becomes calls. A call that cannot be read makes the whole turn invalid, so that half a list is
not mistaken for fewer calls. Nothing runs here.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rollout.bank.trajectory import ToolCall
from rollout.environment import Action

MOST_CALLS = 32
"""Calls that are read from a turn; more make it invalid."""
_MOST_TRIED = 64
"""Places of a text that are tried as the start or the end of a list."""
_LONGEST = 40_000
"""Characters of a turn that are searched."""
_LONGEST_NAME = 64
_BRACKET_CALL = re.compile(r"\[\s*[^\W\d][\w.]*\s*\(")
_BARE_CALL = re.compile(r"[^\W\d][\w.]*\(.*\)", re.DOTALL)
_LIST_END = re.compile(r"\)\s*,?\s*\]")
_JSON_START = re.compile(r"\[\s*\{|\[\s*\]|\{")
_JSON_CALL = re.compile(r"\{\s*\"(?:name|arguments)\"\s*:")

Call = tuple[str, Mapping[str, Any]]
"""Name of the function and its arguments by name."""


def parse_calls_python(text: str, blocks: list[str]) -> Action:
    """Python that makes the calls: blocks of code, the whole turn, or lists in brackets within prose.

    Args:
        text: the turn, without thoughts.
        blocks: the blocks of code in it.

    Returns:
        A proposal whose body is the code; the body is empty when the turn makes no call.
    """
    text = text[:_LONGEST].strip()
    if blocks:
        code = "\n".join(blocks)
        return Action("proposal", code) if _parsed(code) else Action("invalid")
    if "```" in text:
        return Action("invalid")
    if _makes_a_call(text):
        return Action("proposal", text)
    lists = _lists_in_prose(text)
    if lists is None or (not lists and _BARE_CALL.fullmatch(text)):
        return Action("invalid")
    return Action("proposal", "\n".join(lists))


def parse_calls_json(text: str) -> Action:
    """Calls as JSON: lists of objects with ``name`` and ``arguments``, or such objects, in prose or not.

    Args:
        text: the turn, without thoughts.
    """
    text = text[:_LONGEST].strip()
    calls: list[ToolCall] = []
    position = 0
    for _ in range(_MOST_TRIED):
        start = _JSON_START.search(text, position)
        if start is None:
            break
        try:
            found, position = json.JSONDecoder().raw_decode(text, start.start())
        except (ValueError, RecursionError):
            if _JSON_CALL.match(text, text.find("{", start.start())):
                return Action("invalid")
            position = start.end()
            continue
        items = found if isinstance(found, list) else [found]
        read = [_json_call(item) for item in items]
        if items and not any(read):
            continue  # other JSON, such as an example of data
        if not all(read):
            return Action("invalid")
        calls += [call for call in read if call]
    return Action("invalid") if len(calls) > MOST_CALLS else Action("proposal", text, tuple(calls))


def render_calls(form: str, calls: Sequence[Call]) -> str:
    """Calls in a form; native calls (``tools``) are written as in ``calls_json``, with the names of a chat API."""
    if form == "calls_python":
        return f"[{', '.join(_python(name, arguments) for name, arguments in calls)}]"
    written = [
        {"name": native_name(name) if form == "tools" else name, "arguments": dict(arguments)}
        for name, arguments in calls
    ]
    return json.dumps(written, ensure_ascii=False)


def native_name(name: str) -> str:
    """The name of a function in a chat API, which allows letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME]


def without_dots(code: str, names: Mapping[str, str]) -> str:
    """The code with functions of dotted names under others, so that a module of the same name hides none.

    Args:
        code: Python; other text is returned as it is.
        names: dotted name → the name in its place.
    """
    if not any(name in code for name in names):
        return code
    try:
        return ast.unparse(_WithoutDots(names).visit(ast.parse(code)))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return code


class _WithoutDots(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        name = self._names.get(ast.unparse(node))
        if name is not None:
            return ast.Name(name, node.ctx)
        self.generic_visit(node)
        return node


def _python(name: str, arguments: Mapping[str, Any]) -> str:
    """A call; arguments whose names are no names in Python are written as ``**{'from': 1}``."""
    written = [f"{key}={value!r}" for key, value in arguments.items() if _is_name(key)]
    others = {key: value for key, value in arguments.items() if not _is_name(key)}
    return f"{name}({', '.join([*written, *([f'**{others!r}'] if others else [])])})"


def _is_name(key: str) -> bool:
    return key.isidentifier() and key.isascii() and _parsed(f"f({key}=1)") is not None


def _parsed(code: str) -> ast.Module | None:
    """The syntax tree; None for text that is no Python."""
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _makes_a_call(code: str) -> bool:
    tree = _parsed(code)
    return tree is not None and any(isinstance(node, ast.Call) for node in ast.walk(tree))


def _lists_in_prose(text: str) -> list[str] | None:
    """Lists of calls in brackets; None when one has no end."""
    found: list[str] = []
    position, tried = 0, 0
    while start := _BRACKET_CALL.search(text, position):
        for end in _LIST_END.finditer(text, start.start()):
            tried += 1
            if tried > _MOST_TRIED:
                return None
            if _makes_a_call(text[start.start() : end.end()]):
                found.append(text[start.start() : end.end()])
                position = end.end()
                break
        else:
            return None
    return found


def _json_call(item: Any) -> ToolCall | None:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        return None
    arguments = item.get("arguments", {})
    if set(item) - {"name", "arguments"} or not isinstance(arguments, dict):
        return None
    name = item["name"].encode(errors="replace").decode()  # half a surrogate pair cannot be stored
    return ToolCall(id="", name=name, arguments=json.dumps(arguments))
