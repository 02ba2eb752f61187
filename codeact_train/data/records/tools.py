"""Tool calls, their results and the definitions of tools, written as text.

The rule is the form of Hermes and Qwen2.5. A call is appended to its assistant turn as ``<tool_call>``, a line of JSON
``{"name", "arguments"}`` and ``</tool_call>``. Results that follow one another become one user turn, each between
``<tool_response>`` and ``</tool_response>``. The definitions of the tools close the system turn, one line of JSON each,
between ``<tools>`` and ``</tools>`` under the heading ``# Tools``. Contract: a function of the record alone. The module
does not decide whether tool calls are wanted (``turns``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

ADVICE = "set prepare.reading.tool_calls=text to write tools, calls and results into the text"


def definitions(record: Mapping[str, Any]) -> list[Any]:
    """The tools that a record offers: JSON schemas, as a list or as text. Names alone are not definitions."""
    given = next((record[key] for key in ("tools", "functions") if record.get(key)), None)
    found = _json(given) if isinstance(given, str) else given
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def calls_of(turn: Mapping[str, Any]) -> list[Any]:
    """The calls of a turn of OpenAI's form: ``tool_calls``, or ``function_call`` as it was before."""
    calls = turn.get("tool_calls")
    single = turn.get("function_call")
    return [*(calls if isinstance(calls, list) else []), *([single] if single else [])]


def written_calls(content: Any) -> list[Any]:
    """The calls of a turn or part that holds nothing else: JSON of one call or of a list; other text stays as it is."""
    value = _json(content) if isinstance(content, str) else content
    return value if isinstance(value, list) else [value]


def names(calls: Sequence[Any]) -> list[str]:
    """The functions that are called."""
    return [str(_function(call).get("name", "a tool")) for call in calls]


def with_calls(text: str, calls: Sequence[Any]) -> str:
    """The text of a turn, followed by its calls."""
    return "\n".join([*([text] if text else []), *(f"<tool_call>\n{_call(call)}\n</tool_call>" for call in calls)])


def with_results_as_text(turns: list[Any]) -> list[Any]:
    """The turns, with each run of results as one user turn."""
    out: list[Any] = []
    results: list[str] = []
    weights: list[Any] = []
    for turn in [*turns, None]:
        if isinstance(turn, dict) and turn.get("role") == "tool":
            content = turn.get("content")
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            results.append(f"<tool_response>\n{text}\n</tool_response>")
            weights += [turn["weight"]] if turn.get("weight") is not None else []
            continue
        if results:
            out.append({"role": "user", "content": "\n".join(results), "weight": weights[-1] if weights else None})
            results, weights = [], []
        out.append(turn)
    return out[:-1]


def with_definitions(offered: list[Any], turns: list[Any]) -> list[Any]:
    """The turns, with the definitions at the end of the system turn."""
    if not offered:
        return turns
    text = "\n".join(["# Tools", "", "<tools>", *(json.dumps(one, ensure_ascii=False) for one in offered), "</tools>"])
    if turns and isinstance(turns[0], dict) and turns[0].get("role") == "system":
        return [{**turns[0], "content": f"{turns[0].get('content')}\n\n{text}"}, *turns[1:]]
    return [{"role": "system", "content": text}, *turns]


def _function(call: Any) -> dict[str, Any]:
    """Name and arguments of a call."""
    inner = call.get("function", call) if isinstance(call, dict) else None
    return inner if isinstance(inner, dict) else {}


def _call(call: Any) -> str:
    function = _function(call)
    if "name" not in function:
        return call if isinstance(call, str) else json.dumps(call, ensure_ascii=False)
    arguments = function.get("arguments", function.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _json(arguments)
    return json.dumps({"name": function["name"], "arguments": arguments}, ensure_ascii=False)


def _json(text: str) -> Any:
    """The value of JSON; the text itself when it is none."""
    try:
        return from_json(text)
    except ValueError:
        return text
