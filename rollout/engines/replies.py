"""Reads the body of a completion: from bytes of any kind to a :class:`Completion` or a typed error.

Contract: :func:`read_json` and :func:`completion_of` raise :class:`EngineError` and nothing else, for any bytes. What
is missing is None or 0 (token ids, log-probabilities, usage, reasoning); what is wrong (a body that is no completion,
token ids that are no integers, a log-probability that is not a number) is ``infra``: the server is at fault and another
attempt can help. A turn without text is a turn: the model said nothing, which the environment answers. Text is well
formed: a lone surrogate becomes U+FFFD. ``docs/rollout.md`` has the table.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rollout.bank.trajectory import well_formed
from rollout.engines.base import Completion, EngineError, EngineRefused
from rollout.engines.faults import error_of, status_in, words_of
from rollout.engines.tool_calls import calls_in

Json = dict[str, Any]

_LENGTH = {"length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"}
_LOST = {"abort", "aborted", "error", "cancelled", "canceled", "timeout", "insufficient_system_resource"}
_WITHHELD = {
    "content_filter", "safety", "recitation", "sensitive", "refusal", "blocklist", "prohibited_content", "spii",
    "guardrail_intervened", "content_filtered",
}  # fmt: skip
_MOST = 2**31
"""Token ids and counts are smaller."""


@dataclass(frozen=True)
class Request:
    """What the reply depends on. ``prompt_ids`` are None on the chat route."""

    where: str
    stop: Sequence[str] = ()
    prompt_ids: Sequence[int] | None = None
    first_turn: bool = True
    tools: bool = False
    """Whether functions were offered; calls that were not asked for are left out."""


def read_json(body: bytes, content_type: str, where: str) -> Json:
    """The object in a body.

    Raises:
        EngineError: the body is not a JSON object.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise EngineError("infra", f"{where} answered {_form(body, content_type)} instead of JSON") from None
    if not isinstance(value, dict):
        raise EngineError("infra", f"{where} answered JSON that is no object: {_shown(body)}")
    return value


def completion_of(reply: Json, request: Request) -> Completion:
    """The completion in the object that a server answered with status 200.

    Raises:
        ContextFull: the object is an error about the length of the conversation.
        EngineRefused: the reply has no token ids although they were asked for.
        EngineError: the object is an error, or not a completion.
    """
    choice = first_choice(reply, request.where, first_turn=request.first_turn)
    finish = _finish(choice, request)
    if request.prompt_ids is None:
        text, reasoning = _chat_turn(choice, request)
        calls = calls_in(choice["message"], request.where) if request.tools else ()
        if finish == "stop" and choice.get("finish_reason") == "stop":
            text = restore_stop(text, request.stop, choice.get("stop_reason"))
        token_ids, logprobs = None, None
    else:
        text, reasoning, calls = _text(choice.get("text"), "text", request), None, ()
        token_ids = _token_ids(choice, text, request)
        logprobs = _logprobs(choice, len(token_ids), request)
    return Completion(
        text=text,
        token_ids=token_ids,
        logprobs=logprobs,
        prompt_tokens=count_of(reply, "prompt_tokens", request.prompt_ids),
        completion_tokens=count_of(reply, "completion_tokens", token_ids),
        finish_reason=finish,
        reasoning=reasoning,
        tool_calls=calls,
        cached_tokens=cached_tokens(reply),
    )


def restore_stop(text: str, stop: Sequence[str], stop_reason: object) -> str:
    """Appends the stop string that the server removed from ``text``.

    vLLM returns it as ``stop_reason``. From other servers, it is the closing tag of the tag that is still open; a text
    without an open tag has ended by itself.
    """
    if isinstance(stop_reason, str) and stop_reason in stop and not text.endswith(stop_reason):
        return text + stop_reason
    for closing in stop:
        opening = closing.replace("</", "<", 1)
        if opening != closing and text.count(opening) > text.count(closing):
            return text + closing
    return text


def first_choice(reply: Json, where: str, *, first_turn: bool = True) -> Json:
    """The first choice. Raises :class:`EngineError` without choices: the error that the object describes."""
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    described = first.get("error") if isinstance(first, dict) else reply.get("error") or _vllm_error(reply)
    if described:
        holder = described if isinstance(described, dict) else {"error": described}
        raise error_of(status_in(holder), holder, where, first_turn=first_turn)
    if not isinstance(first, dict):
        found = "no choices" if not choices else "choices that are no objects"
        raise EngineError("infra", f"{where} answered with {found}")
    return first


def _vllm_error(reply: Json) -> Json | None:
    """Some servers, older vLLM among them, answer an error without the key ``error``."""
    is_error = reply.get("object") == "error" or ("choices" not in reply and words_of(reply))
    return reply if is_error else None


def _finish(choice: Json, request: Request) -> Literal["stop", "length"]:
    """Why the turn ended. Unknown words count as ``stop``: the model ended it."""
    reason = choice.get("finish_reason")
    if isinstance(reason, dict):  # SGLang's own form
        reason = reason.get("type")
    if not isinstance(reason, str | None):
        raise EngineError("infra", f"{request.where} answered with a finish_reason that is no text")
    word = (reason or "stop").lower()
    if word in _LOST:
        raise EngineError("infra", f"{request.where} gave the completion up (finish_reason {word})")
    if word in _WITHHELD:
        raise EngineError("model", f"{request.where} withheld the completion (finish_reason {word})")
    return "length" if word in _LENGTH else "stop"


def _chat_turn(choice: Json, request: Request) -> tuple[str, str | None]:
    """Text and reasoning of a chat message."""
    message = choice.get("message")
    if not isinstance(message, dict):
        raise EngineError("infra", f"{request.where} answered with a choice without a message")
    content = message.get("content")
    thoughts = [message.get(key) for key in ("reasoning_content", "reasoning")]
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        thoughts += [_joined(part.get("thinking")) for part in parts]
        content = "".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    if content is None:
        content = message.get("refusal") or ""
    text = _text(content, "content", request)
    found = next((thought for thought in thoughts if isinstance(thought, str) and thought), None)
    return text, found and well_formed(found)


def _joined(parts: Any) -> str | None:
    """Mistral's ``thinking``: a text, or a list of parts with texts."""
    if isinstance(parts, list):
        return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))
    return parts if isinstance(parts, str) else None


def _text(value: Any, name: str, request: Request) -> str:
    if not isinstance(value, str):
        raise EngineError("infra", f"{request.where} answered with a {name} that is no text")
    return well_formed(value)


def _token_ids(choice: Json, text: str, request: Request) -> tuple[int, ...]:
    ids = choice.get("token_ids")
    if ids is None:
        raise EngineRefused(
            f"{request.where} returns no token_ids; remove the tokenizer, so that its chat route is used"
        )
    if not isinstance(ids, list) or not all(type(one) is int and 0 <= one < _MOST for one in ids):
        raise EngineError("infra", f"{request.where} answered with token_ids that are no token ids")
    if text and not ids:
        raise EngineError("infra", f"{request.where} answered with a text and no token ids")
    return tuple(ids)


def _logprobs(choice: Json, count: int, request: Request) -> tuple[float, ...] | None:
    holder = choice.get("logprobs")
    values = holder.get("token_logprobs") if isinstance(holder, dict) else holder
    if values is None or (isinstance(values, list) and (not values or None in values)):
        return None
    if not isinstance(values, list) or len(values) != count or not all(map(is_logprob, values)):
        raise EngineError("infra", f"{request.where} answered with log-probabilities that are not {count} numbers")
    return tuple(map(float, values))


def is_logprob(value: Any) -> bool:
    """Whether a value is a finite number."""
    return type(value) in (int, float) and -1e30 < value < 1e30 and math.isfinite(value)


def count_of(reply: Json, name: str, ids: Sequence[int] | None = None) -> int:
    """Tokens as the server counts them, else as many as there are ids, else 0."""
    usage = reply.get("usage")
    value = usage.get(name) if isinstance(usage, dict) else None
    if type(value) is int and 0 <= value < _MOST:
        return value
    return len(ids) if ids is not None else 0


def cached_tokens(reply: Json) -> int:
    """Prompt tokens from the server's cache, as OpenAI, vLLM (``prompt_tokens_details``) and DeepSeek report them."""
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    value = details.get("cached_tokens") if isinstance(details, dict) else usage.get("prompt_cache_hit_tokens")
    return value if type(value) is int and 0 <= value < _MOST else 0


def _form(body: bytes, content_type: str) -> str:
    """What a body is that is not JSON."""
    start = body[:512].lstrip().lower()
    if not body:
        return "nothing"
    if content_type.startswith("text/event-stream") or start.startswith((b"data:", b"event:")):
        return "an event stream, which was not asked for,"
    if start.startswith(b"<"):
        return f"a page of HTML or XML ({_shown(body)})"
    return f"{len(body)} bytes ({_shown(body)})"


def _shown(body: bytes) -> str:
    return words_of(body[:120].decode(errors="replace")) or "blank"
