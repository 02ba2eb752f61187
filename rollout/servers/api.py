"""The OpenAI-compatible HTTP routes over a :class:`~rollout.servers.backend.Backend`.

Contract: ``/v1/models``, ``/v1/completions`` (text or token ids), ``/v1/chat/completions``, ``/health`` and
``/openapi.json``. Requests take vLLM's ``return_token_ids``, ``return_tokens_as_token_ids`` and
``include_stop_str_in_output``; responses have vLLM's fields, so that one client serves both. With ``echo`` and
``logprobs``, the answer of ``/v1/completions`` begins with the prompt's tokens and their log-probabilities. An
unsupported parameter is an error 400, never ignored. When a client disconnects, its request leaves the batch.

Does not do: streaming, more than one choice, authentication (bind it to the loopback address).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Coroutine
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from rollout.servers.backend import (
    Backend,
    Generation,
    GenerationRequest,
    ScoringBackend,
    cut_at_stop,
    first_stop,
)

CLIENT_CLOSED_REQUEST = 499


class _Request(BaseModel):
    """Parameters of both completion routes."""

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
    """Body of ``/v1/completions``."""

    prompt: str | list[int]
    max_tokens: int = Field(16, ge=0)
    logprobs: int | None = Field(None, ge=0)
    echo: bool = False
    return_tokens_as_token_ids: bool = False


class ChatRequest(_Request):
    """Body of ``/v1/chat/completions``."""

    messages: list[dict[str, str]]
    max_tokens: int | None = Field(None, gt=0)
    max_completion_tokens: int | None = Field(None, gt=0)
    logprobs: bool = False


class BadRequest(ValueError):
    """The request cannot be served; ``code`` is OpenAI's."""

    def __init__(self, message: str, code: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.code = code


def create_app(backend: Backend) -> FastAPI:
    """The application; ``backend`` serves all of its requests."""
    app = FastAPI(title="CodeAct model server", docs_url=None, redoc_url=None)
    app.state.backend = backend
    app.get("/health")(_health)
    app.get("/v1/models")(_models)
    app.post("/v1/completions")(_completions)
    app.post("/v1/chat/completions")(_chat)
    for kind in (RequestValidationError, BadRequest, ValueError, RuntimeError):
        app.add_exception_handler(kind, _error)
    return app


async def _error(request: Request, error: Exception) -> JSONResponse:
    """An exception in the form of OpenAI's errors."""
    status, code, message = 500, "internal_error", str(error)
    if isinstance(error, RequestValidationError):
        status, code, message = 400, "invalid_request_error", "; ".join(map(_sentence, error.errors()))
    elif isinstance(error, BadRequest):
        status, code = 400, error.code
    kind = "invalid_request_error" if status == 400 else "server_error"
    return JSONResponse({"error": {"message": message, "type": kind, "code": code}}, status)


def _sentence(error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "body")
    return f"{key}: {error['msg']}" if key else str(error["msg"])


async def _health(request: Request) -> dict[str, Any]:
    backend: Backend = request.app.state.backend
    return {"status": "ok", "model": backend.name, "digest": backend.digest, "in_flight": backend.in_flight}


async def _models(request: Request) -> dict[str, Any]:
    backend: Backend = request.app.state.backend
    entry = {"id": backend.name, "object": "model", "owned_by": "codeact", "max_model_len": backend.context_length}
    return {"object": "list", "data": [entry]}


async def _completions(request: Request, body: CompletionRequest) -> Response:
    return await _until_disconnect(request, _complete(request.app.state.backend, body))


async def _chat(request: Request, body: ChatRequest) -> Response:
    return await _until_disconnect(request, _complete_chat(request.app.state.backend, body))


async def _until_disconnect(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """The response of ``work``, which is cancelled when the client disconnects."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else Response(status_code=CLIENT_CLOSED_REQUEST)
    finally:
        working.cancel()
        leaving.cancel()


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _complete(backend: Backend, body: CompletionRequest) -> Response:
    prompt_ids = backend.codec.encode(body.prompt) if isinstance(body.prompt, str) else body.prompt
    scorer = _scorer(backend, body)
    if body.max_tokens:
        top = body.logprobs if body.logprobs is not None and body.logprobs > 1 else 0
        made = await _generate(backend, body, prompt_ids, body.max_tokens, top)
    else:
        _check_fits(backend, prompt_ids, 0)
        made = Generation((), (), "length")
    choice: dict[str, Any] = {"index": 0, "text": _text(backend, body, made), "logprobs": None}
    choice |= _finish(backend, body, made)
    echoed: list[int] = prompt_ids if body.echo else []
    if body.echo:
        choice["text"] = backend.codec.decode(prompt_ids) + choice["text"]
    if body.logprobs is not None:
        before = [None, *await scorer.score(tuple(prompt_ids))] if scorer is not None and body.echo else []
        choice["logprobs"] = {
            "tokens": [_name(backend, body, token) for token in (*echoed, *made.token_ids)],
            "token_logprobs": [*before, *made.logprobs],
            "top_logprobs": _top(backend, body, len(echoed), made),
        }
    if body.return_token_ids:
        choice |= {"token_ids": made.token_ids, "prompt_token_ids": prompt_ids}
    return _response("text_completion", backend, prompt_ids, made, choice)


def _scorer(backend: Backend, body: CompletionRequest) -> ScoringBackend | None:
    """The backend when it computes log-probabilities of given tokens. Raises BadRequest when it must and does not."""
    if not body.max_tokens and not body.echo:
        raise BadRequest("max_tokens: 0 is for echo; give at least 1")
    scorer = backend if isinstance(backend, ScoringBackend) else None
    if body.echo and body.logprobs is not None and scorer is None:
        raise BadRequest("echo: this backend computes no log-probabilities of a prompt; take echo or logprobs out")
    most = max(scorer.most_top if scorer else 1, 1)
    if body.logprobs is not None and body.logprobs > most:
        raise BadRequest(f"logprobs: this backend lists at most {most} tokens, not {body.logprobs}")
    return scorer


def _name(backend: Backend, body: CompletionRequest, token: int) -> str:
    return f"token_id:{token}" if body.return_tokens_as_token_ids else backend.codec.decode([token])


def _top(backend: Backend, body: CompletionRequest, echoed: int, made: Generation) -> list[Any] | None:
    """The most probable tokens in the place of each; those of a prompt are not listed."""
    if not made.top:
        return None
    listed: list[dict[str, float]] = []
    for tokens in made.top:
        by_name: dict[str, float] = {}
        for token, logprob in tokens:  # the most probable first: it keeps a name that two tokens share
            by_name.setdefault(_name(backend, body, token), logprob)
        listed.append(by_name)
    return [*[None] * echoed, *listed]


async def _complete_chat(backend: Backend, body: ChatRequest) -> Response:
    prompt_ids = backend.codec.render(body.messages)
    room = backend.context_length - len(prompt_ids)
    made = await _generate(backend, body, prompt_ids, body.max_completion_tokens or body.max_tokens or max(room, 1))
    message = {"role": "assistant", "content": _text(backend, body, made)}
    choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": None} | _finish(backend, body, made)
    if body.logprobs:
        pairs = zip(made.token_ids, made.logprobs, strict=True)
        entries = [{"token": backend.codec.decode([t]), "logprob": p, "top_logprobs": []} for t, p in pairs]
        choice["logprobs"] = {"content": entries}
    extra: dict[str, Any] = {}
    if body.return_token_ids:
        choice["token_ids"] = made.token_ids
        extra["prompt_token_ids"] = prompt_ids
    return _response("chat.completion", backend, prompt_ids, made, choice, extra)


async def _generate(
    backend: Backend, body: _Request, prompt_ids: list[int], max_tokens: int, top: int = 0
) -> Generation:
    _check_fits(backend, prompt_ids, max_tokens)
    seed = uuid.uuid4().int % 2**31 if body.seed is None else body.seed
    request = GenerationRequest(tuple(prompt_ids), max_tokens, body.temperature, body.top_p, seed, body.stops, top)
    return await backend.generate(request)


def _check_fits(backend: Backend, prompt_ids: list[int], max_tokens: int) -> None:
    if not prompt_ids:
        raise BadRequest("prompt: empty; give at least one token")
    if len(prompt_ids) + max_tokens > backend.context_length:
        raise BadRequest(
            f"This model's maximum context length is {backend.context_length} tokens; "
            f"the prompt has {len(prompt_ids)} and max_tokens is {max_tokens}",
            code="context_length_exceeded",
        )


def _text(backend: Backend, body: _Request, made: Generation) -> str:
    return cut_at_stop(backend.codec.decode(made.token_ids), body.stops, include=body.include_stop_str_in_output)


def _finish(backend: Backend, body: _Request, made: Generation) -> dict[str, str | None]:
    """Why generation ended. ``stop_reason`` is vLLM's: the stop string, or null for an end token."""
    which = first_stop(backend.codec.decode(made.token_ids), body.stops)
    return {"finish_reason": made.finish_reason, "stop_reason": which}


def _response(
    kind: str,
    backend: Backend,
    prompt_ids: list[int],
    made: Generation,
    choice: dict[str, Any],
    extra: dict[str, Any] | None = None,
) -> Response:
    prompt_tokens, completion_tokens = len(prompt_ids), len(made.token_ids)
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": backend.name}
    return JSONResponse(head | {"choices": [choice], "usage": usage} | (extra or {}))
