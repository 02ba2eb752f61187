"""What a server's error means: a full context, a refused configuration, a refused conversation or an outage.

Contract: :func:`error_of` turns a status and an error body of any server into an :class:`EngineError`. The wordings of
a full context are those of vLLM, SGLang, llama.cpp, TGI, TensorRT-LLM and the larger APIs; ``docs/rollout.md`` has the
table of kinds. Works on text alone and asks nobody.
"""

from __future__ import annotations

import re
from typing import Any

from rollout.engines.base import ContextFull, EngineError, EngineRefused

SHOWN_CHARS = 500
"""Longest part of a server's own words in a message."""

_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"}
_CONTEXT = re.compile(
    "|".join(
        (
            # OpenAI, Azure, DeepSeek, OpenRouter, llama-cpp-python, vLLM; xAI; Mistral; SGLang; vLLM V1; Moonshot
            r"maximum (model )?(context|prompt) length",
            r"model's context (length|window)",
            r"(maximum|max) model length",
            r"exceeds the max_model_len",
            r"exceeded model token limit",
            # OpenAI Responses and GPT-5; MiniMax
            r"exceeds? the context window",
            r"context window exceeds",
            r"input tokens exceed the configured limit",
            # Anthropic, Fireworks, Ollama, Bedrock
            r"prompt (is )?too long",
            r"exceed context limit",
            r"input is too long for requested model",
            # Gemini, Vertex AI
            r"input token count .*(exceeds the maximum number of tokens|only supports up to)",
            # llama.cpp, llama-cpp-python, LM Studio, Ollama
            r"exceeds? the available context size",
            r"exceed context window of",
            r"context length of only \d+ tokens",
            r"exceeds the (maximum )?context length",
            # TGI and Together
            r"`inputs` tokens \+ `max_new_tokens` must be <=",
            r"`inputs` must have less than \d+ tokens",
            # SGLang, TensorRT-LLM, DashScope, Cohere
            r"exceeds the maximum allowed length",
            r"prompt length \([\d.]+\).* should not exceed max_num_tokens",
            r"range of input length should be",
            r"too many tokens: .*prompt cannot exceed",
            # Groq, Cerebras and older vLLM
            r"reduce the length of (the|your) (messages|input|prompt)",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)
_FILTERED = re.compile(r"content[ _](filter|management policy)|ResponsibleAIPolicyViolation|moderation", re.IGNORECASE)
_ALWAYS_REFUSED = {401, 402, 403, 404, 405, 407}
_PASSING = {408, 409, 425, 429}


def error_of(status: int, body: Any, where: str, *, first_turn: bool) -> EngineError:
    """The error that a server's answer stands for.

    Args:
        status: HTTP status, or the status that an error body names.
        body: the answer, as JSON values or as text.
        where: the server, for the message.
        first_turn: whether the model has said nothing yet. A request that is refused then is refused for its form:
            the model has no part in it.
    """
    said = words_of(body)
    message = f"{where} answered {status}: {said or 'without a word'}"
    if status in _PASSING or not 300 <= status < 600 or "rate_limit_exceeded" in _codes(body):
        return EngineError("infra", message)
    if status not in _ALWAYS_REFUSED and (_codes(body) & _CONTEXT_CODES or _CONTEXT.search(said)):
        return ContextFull(message)
    if 300 <= status < 400 or status in _ALWAYS_REFUSED:
        return EngineRefused(f"{message}; {_advice(status)}")
    if 400 <= status < 500:
        if _FILTERED.search(said) or "content_filter" in _codes(body):
            return EngineError("model", message)
        return EngineRefused(message) if first_turn else EngineError("model", message)
    return EngineError("infra", message)


def words_of(body: Any, depth: int = 0) -> str:
    """The readable part of an error body: its message, wherever servers put it, at most :data:`SHOWN_CHARS` long."""
    if isinstance(body, list) and depth < 4:
        return words_of(body[0], depth + 1) if body else ""
    if isinstance(body, dict) and depth < 4:
        for key in ("error", "message", "detail", "msg", "error_message", "errors"):
            if found := words_of(body.get(key), depth + 1):
                return found
        return ""
    text = " ".join(body[: 4 * SHOWN_CHARS].split()) if isinstance(body, str) else ""
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def status_in(body: Any) -> int:
    """The HTTP status that an error body with status 200 names; 500 when it names none."""
    error = body.get("error", body) if isinstance(body, dict) else None
    for holder in (error, body):
        for key in ("code", "status", "status_code"):
            value = holder.get(key) if isinstance(holder, dict) else None
            number = int(value) if isinstance(value, str) and re.fullmatch(r"[45]\d\d", value) else value
            if type(number) is int and 400 <= number < 600:
                return number
    return 500


def _codes(body: Any) -> set[str]:
    """The codes and types that an error body names."""
    found: set[str] = set()
    for holder in (body, body.get("error")) if isinstance(body, dict) else ():
        if isinstance(holder, dict):
            found |= {holder[key] for key in ("code", "type") if isinstance(holder.get(key), str)}
    return found


def _advice(status: int) -> str:
    if status < 400:
        return "write the address that it redirects to into base_urls"
    if status == 402:
        return "the account has no credit left"
    if status in (401, 403, 407):
        return "check the key and what it may be used for"
    return "check base_urls (most servers need /v1 at the end) and the model's name"
