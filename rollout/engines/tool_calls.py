"""Native calls of functions in the messages of a chat API.

Contract: :func:`chat_messages` writes a conversation for ``/v1/chat/completions``: a turn with calls has its
``tool_calls``, and the results that follow are messages of the role ``tool``, one a call. :func:`calls_in` reads the
calls of a reply. Arguments stay the text that the model wrote; the caller parses them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rollout.bank.trajectory import Message, ToolCall
from rollout.engines.base import EngineError


def chat_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages of a request."""
    written: list[dict[str, Any]] = []
    open_calls: tuple[ToolCall, ...] = ()
    for message in messages:
        if open_calls and message.role == "user":
            results = message.tool_results or ()
            if len(results) != len(open_calls):
                results = (message.content, *[""] * (len(open_calls) - 1))
            written += [
                {"role": "tool", "tool_call_id": call.id, "content": result}
                for call, result in zip(open_calls, results, strict=True)
            ]
            open_calls = ()
        elif message.tool_calls:
            open_calls = message.tool_calls
            calls = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in open_calls
            ]
            written.append({"role": "assistant", "content": message.content or None, "tool_calls": calls})
        else:
            written.append({"role": message.role, "content": message.content})
    return written


def calls_in(message: dict[str, Any], where: str) -> tuple[ToolCall, ...]:
    """The calls of a reply's message.

    Raises:
        EngineError: they are not in the form of the API.
    """
    calls = message.get("tool_calls") or []
    try:
        return tuple(_call(call, index) for index, call in enumerate(calls))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise EngineError("infra", f"{where} answered with tool_calls that are no calls of functions") from None


def _call(call: dict[str, Any], index: int) -> ToolCall:
    function = call["function"]
    arguments = function.get("arguments") or "{}"
    if isinstance(arguments, dict):  # some servers parse them
        arguments = json.dumps(arguments)
    if not isinstance(arguments, str):
        raise TypeError
    return ToolCall(id=call.get("id") or f"call_{index}", name=function["name"], arguments=arguments)
