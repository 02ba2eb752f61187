"""The OpenAI-compatible HTTP surface over a :class:`~rollout.servers.backend.Backend`.

Contract: ``/v1/models``, ``/v1/completions`` (text or token ids), ``/v1/chat/completions``, ``/health``, and
``POST /reload {"path": folder}``. Requests take vLLM's ``return_token_ids`` and ``include_stop_str_in_output``; answers
have vLLM's fields, so one client serves both. A parameter that is not served is an error 400, never ignored. When the
client goes away its job leaves the batch.

Does not do: streaming, more than one choice, echo, prompt logprobs, authentication (bind it to the loopback address).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rollout.servers.backend import Backend, Generation, GenerationRequest, cut_at_stop, first_stop

BACKEND = web.AppKey("backend", Backend)


class _Request(BaseModel):
    """What both completion routes take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = None
    temperature: float = Field(1.0, ge=0.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    stop: str | list[str] | None = None
    seed: int | None = None
    n: Literal[1] = 1
    stream: Literal[False] = False
    return_token_ids: bool = False
    include_stop_str_in_output: bool = False
    user: str | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


class CompletionRequest(_Request):
    prompt: str | list[int]
    max_tokens: int = Field(16, gt=0)
    logprobs: Literal[0, 1] | None = None


class ChatRequest(_Request):
    messages: list[dict[str, str]]
    max_tokens: int | None = Field(None, gt=0)
    max_completion_tokens: int | None = Field(None, gt=0)
    logprobs: bool = False


def create_app(backend: Backend) -> web.Application:
    """The application; run it with ``handler_cancellation=True``, or disconnected clients keep their place."""
    app = web.Application(middlewares=[_errors_as_json], client_max_size=64 * 2**20)
    app[BACKEND] = backend
    app.router.add_get("/health", _health)
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/completions", _completions)
    app.router.add_post("/v1/chat/completions", _chat)
    app.router.add_post("/reload", _reload)
    return app


class BadRequest(ValueError):
    """The client's mistake; ``code`` is OpenAI's."""

    def __init__(self, message: str, code: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.code = code


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except (ValidationError, json.JSONDecodeError) as error:
        return _error(400, f"{error}", "invalid_request_error")
    except BadRequest as error:
        return _error(400, str(error), error.code)
    except (ValueError, RuntimeError) as error:
        return _error(500, str(error), "internal_error")


def _error(status: int, message: str, code: str) -> web.Response:
    kind = "invalid_request_error" if status == 400 else "server_error"
    return web.json_response({"error": {"message": message, "type": kind, "code": code}}, status=status)


async def _health(request: web.Request) -> web.Response:
    backend = request.app[BACKEND]
    report = {"status": "ok", "model": backend.name, "digest": backend.digest, "in_flight": backend.in_flight}
    return web.json_response(report)


async def _models(request: web.Request) -> web.Response:
    backend = request.app[BACKEND]
    entry = {"id": backend.name, "object": "model", "owned_by": "codeact", "max_model_len": backend.context_length}
    return web.json_response({"object": "list", "data": [entry]})


async def _reload(request: web.Request) -> web.Response:
    backend = request.app[BACKEND]
    folder = Path(str((await request.json()).get("path", "")))
    if not (folder / "config.json").is_file():
        raise BadRequest(f"path={str(folder)!r}: no model folder there")
    await backend.load(folder)
    return await _health(request)


async def _completions(request: web.Request) -> web.Response:
    backend = request.app[BACKEND]
    body = CompletionRequest.model_validate(await request.json())
    prompt_ids = backend.codec.encode(body.prompt) if isinstance(body.prompt, str) else body.prompt
    made = await _generate(backend, body, prompt_ids, body.max_tokens)
    choice: dict[str, Any] = {"index": 0, "text": _text(backend, body, made), "logprobs": None}
    choice |= _ending(backend, body, made)
    if body.logprobs is not None:
        tokens = [backend.codec.decode([token]) for token in made.token_ids]
        choice["logprobs"] = {"tokens": tokens, "token_logprobs": made.logprobs, "top_logprobs": None}
    if body.return_token_ids:
        choice |= {"token_ids": made.token_ids, "prompt_token_ids": prompt_ids}
    return _answer("text_completion", backend, prompt_ids, made, choice)


async def _chat(request: web.Request) -> web.Response:
    backend = request.app[BACKEND]
    body = ChatRequest.model_validate(await request.json())
    prompt_ids = backend.codec.render(body.messages)
    room = backend.context_length - len(prompt_ids)
    made = await _generate(backend, body, prompt_ids, body.max_completion_tokens or body.max_tokens or max(room, 1))
    message = {"role": "assistant", "content": _text(backend, body, made)}
    choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": None} | _ending(backend, body, made)
    if body.logprobs:
        pairs = zip(made.token_ids, made.logprobs, strict=True)
        entries = [{"token": backend.codec.decode([t]), "logprob": p, "top_logprobs": []} for t, p in pairs]
        choice["logprobs"] = {"content": entries}
    extra: dict[str, Any] = {}
    if body.return_token_ids:
        choice["token_ids"] = made.token_ids
        extra["prompt_token_ids"] = prompt_ids
    return _answer("chat.completion", backend, prompt_ids, made, choice, extra)


async def _generate(backend: Backend, body: _Request, prompt_ids: list[int], max_tokens: int) -> Generation:
    if not prompt_ids:
        raise BadRequest("prompt: empty; give at least one token")
    if len(prompt_ids) + max_tokens > backend.context_length:
        raise BadRequest(
            f"This model's maximum context length is {backend.context_length} tokens; "
            f"the prompt has {len(prompt_ids)} and max_tokens is {max_tokens}",
            code="context_length_exceeded",
        )
    seed = uuid.uuid4().int % 2**31 if body.seed is None else body.seed
    job = GenerationRequest(tuple(prompt_ids), max_tokens, body.temperature, body.top_p, seed, body.stops)
    return await backend.generate(job)


def _text(backend: Backend, body: _Request, made: Generation) -> str:
    return cut_at_stop(backend.codec.decode(made.token_ids), body.stops, include=body.include_stop_str_in_output)


def _ending(backend: Backend, body: _Request, made: Generation) -> dict[str, str | None]:
    """Why it ended; ``stop_reason`` is vLLM's: the stop string, or null for an end token."""
    which = first_stop(backend.codec.decode(made.token_ids), body.stops)
    return {"finish_reason": made.finish_reason, "stop_reason": which}


def _answer(
    kind: str,
    backend: Backend,
    prompt_ids: list[int],
    made: Generation,
    choice: dict[str, Any],
    extra: dict[str, Any] | None = None,
) -> web.Response:
    prompt_tokens, completion_tokens = len(prompt_ids), len(made.token_ids)
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": backend.name}
    return web.json_response(head | {"choices": [choice], "usage": usage} | (extra or {}))
