"""The engine for models behind OpenAI-compatible servers, such as vLLM or this project's CPU server.

Contract: there are two routes. With a tokenizer folder, the token ids of the rendered chat template go to
``/v1/completions``, which returns sampled ids and log-probabilities (vLLM's ``return_token_ids``); earlier turns are
never encoded again. Without one, messages go to ``/v1/chat/completions``, which every server has; text comes back.

A session stays on one server (rendezvous hashing: a lost server moves only its own sessions). The ``openai`` client
retries infrastructure failures (no connection, timeout, 408, 409, 429, 5xx) with exponential back-off; then each
further server is tried once; then :class:`EngineError` of kind ``infra`` is raised.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import openai

from rollout.engines.base import Completion, ContextFull, EngineError
from rollout.trajectory import Message, Sampling

if TYPE_CHECKING:
    from rollout.engines.chat_prompt import ChatPrompt


class OpenAIEngine:
    """Completions from one model behind one or more servers.

    Args:
        name: stored with every trajectory.
        base_urls: servers of the same model, each ending in ``/v1``.
        model: name of the model in requests.
        tokenizer: model folder whose tokenizer and chat template render the prompts; None sends messages.
        timeout_s: time limit of one request, including its wait in the server's queue.
        retries: attempts after the first, on one server.
    """

    def __init__(
        self,
        name: str,
        base_urls: Sequence[str],
        model: str,
        tokenizer: str | None = None,
        *,
        timeout_s: float = 600.0,
        retries: int = 3,
    ) -> None:
        if not base_urls:
            raise ValueError(
                f"engine {name!r}: base_urls is empty; give at least one, such as http://127.0.0.1:8000/v1"
            )
        self.name = name
        self._model = model
        key = os.environ.get("OPENAI_API_KEY", "none")  # local servers need no key, but the client requires one
        self._clients = {
            url: openai.AsyncOpenAI(base_url=url, api_key=key, timeout=timeout_s, max_retries=retries)
            for url in base_urls
        }
        self._prompt: ChatPrompt | None = None
        if tokenizer is not None:
            from rollout.engines.chat_prompt import ChatPrompt

            self._prompt = ChatPrompt(tokenizer)

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        """See :meth:`rollout.engines.base.Engine.complete`."""
        fault: Exception | None = None
        for url in servers_in_order(list(self._clients), session):
            try:
                if self._prompt is None:
                    return await self._from_messages(self._clients[url], messages, sampling)
                return await self._from_tokens(self._clients[url], self._prompt, messages, sampling)
            except openai.BadRequestError as error:
                if _is_context_full(error):
                    raise ContextFull(error.message) from error
                raise EngineError("model", error.message) from error
            except openai.APIStatusError as error:
                if error.status_code < 500 and error.status_code not in (408, 409, 429):
                    raise EngineError("model", error.message) from error
                fault = error
            except (openai.APIConnectionError, openai.APIResponseValidationError, ValueError) as error:
                fault = error  # ValueError: a truncated response is not JSON
        raise EngineError("infra", f"no answer from {', '.join(self._clients)}: {fault}") from fault

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            await client.close()

    async def _from_tokens(
        self, client: openai.AsyncOpenAI, prompt: ChatPrompt, messages: Sequence[Message], sampling: Sampling
    ) -> Completion:
        reply = await client.completions.create(
            prompt=prompt.ids(messages),
            logprobs=0,
            extra_body={"return_token_ids": True, "include_stop_str_in_output": True},
            **self._common(sampling),
        )
        choice = reply.choices[0]
        token_ids = tuple(_field(choice, "token_ids"))
        logprobs = choice.logprobs.token_logprobs if choice.logprobs else None
        return _completion(reply, choice.text, choice.finish_reason, token_ids, tuple(logprobs) if logprobs else None)

    async def _from_messages(
        self, client: openai.AsyncOpenAI, messages: Sequence[Message], sampling: Sampling
    ) -> Completion:
        chat: list[Any] = [{"role": message.role, "content": message.content} for message in messages]
        reply = await client.chat.completions.create(messages=chat, **self._common(sampling))
        choice = reply.choices[0]
        text = choice.message.content or ""
        if choice.finish_reason == "stop":
            text = restore_stop(text, sampling.stop, getattr(choice, "stop_reason", None))
        return _completion(reply, text, choice.finish_reason, None, None)

    def _common(self, sampling: Sampling) -> dict[str, Any]:
        return {
            "model": self._model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "stop": list(sampling.stop) or None,
        }


def servers_in_order(urls: Sequence[str], session: str) -> list[str]:
    """The servers in the order that a session tries them: by hash of (session, server), highest first."""
    return sorted(urls, key=lambda url: hashlib.sha256(f"{session}\n{url}".encode()).digest(), reverse=True)


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


def _completion(
    reply: Any, text: str, finish: str | None, token_ids: tuple[int, ...] | None, logprobs: tuple[float, ...] | None
) -> Completion:
    if reply.usage is None:
        raise EngineError("model", "the server reports no token usage")
    return Completion(
        text=text,
        token_ids=token_ids,
        logprobs=logprobs,
        prompt_tokens=reply.usage.prompt_tokens,
        completion_tokens=reply.usage.completion_tokens,
        finish_reason="length" if finish == "length" else "stop",
    )


def _field(choice: Any, name: str) -> list[int]:
    value = getattr(choice, name, None)
    if value is None:
        raise EngineError("model", f"the server does not return {name}; remove the tokenizer to use its chat route")
    return list(value)


def _is_context_full(error: openai.BadRequestError) -> bool:
    return error.code == "context_length_exceeded" or "maximum context length" in error.message
