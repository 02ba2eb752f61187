"""The engine for models behind OpenAI-compatible servers, such as vLLM or this project's CPU server.

Contract: there are two routes. With a tokenizer folder, the token ids of the rendered chat template go to
``/v1/completions``, which returns sampled ids and log-probabilities (vLLM's ``return_token_ids``); earlier turns are
never encoded again. Without one, messages go to ``/v1/chat/completions``, which every server has; text comes back.

A session stays on one server (rendezvous hashing: a lost server moves only its own sessions). The ``openai`` client
retries infrastructure failures (no connection, timeout, 408, 409, 429, 5xx) after the time that ``Retry-After`` names,
else with exponential back-off and jitter; then each further server is tried. Any answer of a server becomes a
completion (:mod:`rollout.engines.replies`) or an :class:`EngineError` (:mod:`rollout.engines.faults`). A key never
appears in a message. How the probabilities of given texts are asked for is in :mod:`rollout.engines.scoring`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import openai

from rollout.bank.trajectory import Message, Sampling
from rollout.engines.base import Completion, EngineError, EngineRefused, Scores
from rollout.engines.faults import error_of
from rollout.engines.http_client import BoundedClient, timeouts
from rollout.engines.replies import Json, Request, completion_of, read_json
from rollout.engines.scoring import Scorer, Texts
from rollout.engines.tool_calls import chat_messages

if TYPE_CHECKING:
    from rollout.engines.chat_prompt import ChatPrompt

T = TypeVar("T")

NO_KEY = "none"
"""Servers without keys need none, but the ``openai`` client requires one."""
NO_HEADERS: Mapping[str, str] = {}
_BEARER: Any = {"security": {"bearer_auth": True}}
"""The key goes into ``Authorization``, and no other key of the environment anywhere."""


class OpenAIEngine:
    """Completions from one model behind one or more servers.

    Args:
        name: stored with every trajectory.
        base_urls: servers of the same model, each ending in ``/v1``.
        model: name of the model in requests.
        tokenizer: model folder whose tokenizer and chat template render the prompts; None sends messages.
        api_key: key sent to the servers as ``Authorization: Bearer``; None for servers without keys.
        headers: further headers of every request.
        secret_headers: the same, with values that never appear in a message.
        timeout_s: time limit of one request, including its wait in the server's queue.
        retries: attempts after the first, on one server.
        transport: replaces the network, for tests.
    """

    def __init__(
        self,
        name: str,
        base_urls: Sequence[str],
        model: str,
        tokenizer: str | None = None,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        secret_headers: Mapping[str, str] = NO_HEADERS,
        timeout_s: float = 600.0,
        retries: int = 3,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        if not base_urls:
            raise ValueError(
                f"engine {name!r}: base_urls is empty; give at least one, such as http://127.0.0.1:8000/v1"
            )
        self.name = name
        self._model = model
        self._secrets = [secret for secret in (api_key, *secret_headers.values()) if secret]
        self._clients = {
            url: openai.AsyncOpenAI(
                base_url=url,
                api_key=api_key or NO_KEY,
                default_headers={**headers, **secret_headers},
                timeout=timeouts(timeout_s),
                max_retries=retries,
                http_client=BoundedClient(transport=transport),
            )
            for url in base_urls
        }
        self._scorer = Scorer(model)
        self._prompt: ChatPrompt | None = None
        if tokenizer is not None:
            from rollout.engines.chat_prompt import ChatPrompt

            self._prompt = ChatPrompt(tokenizer)

    @property
    def takes_tools(self) -> bool:
        """Whether native calls are possible: on the chat route, where the server renders them."""
        return self._prompt is None

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        session: str,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Completion:
        """See :meth:`rollout.engines.base.Engine.complete`."""
        first_turn = all(message.role != "assistant" for message in messages)
        prompt_ids = self._prompt_ids(messages, first_turn) if self._prompt else None

        async def ask(url: str) -> Completion:
            request = Request(url, sampling.stop, prompt_ids, first_turn, bool(tools))
            path, body = self._request(prompt_ids, messages, sampling, tools)
            return completion_of(await self._send(url, first_turn, path, body), request)

        return await self._on_a_server(session, ask)

    async def score(self, prompt: str | Sequence[Message], texts: Sequence[str], *, session: str) -> Scores:
        """See :meth:`rollout.engines.base.ScoringEngine.score`."""
        encoded = None
        if self._prompt:
            encoded = Texts.encoded(self._rendered(partial(self._prompt.continued, prompt, texts), True))

        async def ask(url: str) -> Scores:
            send = partial(self._send, url, True)
            if encoded is not None:
                return await self._scorer.by_completion(send, url, encoded)
            if isinstance(prompt, str):
                return await self._scorer.by_completion(send, url, Texts.plain(prompt, texts))
            return await self._scorer.by_chat(send, url, chat_messages(prompt), texts)

        return await self._on_a_server(session, ask)

    async def _on_a_server(self, session: str, ask: Callable[[str], Awaitable[T]]) -> T:
        """What the first server that answers says; the servers are tried in the order of the session."""
        faults: list[EngineError] = []
        for url in servers_in_order(list(self._clients), session):
            try:
                return await ask(url)
            except EngineError as fault:
                if fault.kind != "infra":
                    raise self._without_secrets(fault) from None
                faults.append(fault)
        refused = all(isinstance(fault, EngineRefused) for fault in faults)
        lasting = next(fault for fault in reversed(faults) if refused or not isinstance(fault, EngineRefused))
        raise self._without_secrets(lasting) from None

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            await client.close()

    def _prompt_ids(self, messages: Sequence[Message], first_turn: bool) -> list[int]:
        assert self._prompt is not None
        return self._rendered(partial(self._prompt.ids, messages), first_turn)

    def _rendered(self, render: Callable[[], T], first_turn: bool) -> T:
        """What the chat template and the tokenizer make of a conversation."""
        from jinja2 import TemplateError

        try:
            return render()
        except (TemplateError, ValueError, TypeError) as error:
            said = f"the chat template cannot render the conversation: {error}"
            raise EngineRefused(said) if first_turn else EngineError("model", said) from error

    async def _send(self, where: str, first_turn: bool, path: str, body: Json) -> Json:
        """The object that a server answers with a status of success."""
        try:
            return read_json(*await self._post(self._clients[where], path, body), where)
        except openai.APIStatusError as error:
            raise error_of(error.status_code, error.body, where, first_turn=first_turn) from error
        except openai.APITimeoutError as error:
            raise EngineError("infra", f"no answer from {where}: the request timed out") from error
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise EngineError("infra", f"no answer from {where}: {error.__cause__ or error}") from error
        except (ValueError, TypeError, OSError) as error:
            raise EngineError("infra", f"no answer from {where}: {type(error).__name__}: {error}") from error

    async def _post(self, client: openai.AsyncOpenAI, path: str, body: Json) -> tuple[bytes, str]:
        """Body and content type of the reply, which ``client.post`` leaves unread; it retries as ``openai`` does."""
        reply = await client.post(path, cast_to=httpx2.Response, body=body, options=_BEARER)
        return reply.content, reply.headers.get("content-type", "").lower()

    def _request(
        self,
        prompt_ids: Sequence[int] | None,
        messages: Sequence[Message],
        sampling: Sampling,
        tools: Sequence[Mapping[str, Any]],
    ) -> tuple[str, Json]:
        """Path and body of a request for a turn."""
        body: dict[str, Any] = {
            "model": self._model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "stop": list(sampling.stop) or None,
        }
        if prompt_ids is not None:
            body |= {"prompt": list(prompt_ids), "logprobs": 0}
            body |= {"return_token_ids": True, "include_stop_str_in_output": True}
            return "/completions", body
        body["messages"] = chat_messages(messages)
        if tools:
            body["tools"] = list(tools)
        return "/chat/completions", body

    def _without_secrets(self, fault: EngineError) -> EngineError:
        """The error with keys removed from what the server said."""
        message = str(fault)
        for secret in self._secrets:
            message = message.replace(secret, "[key]")
        fault.args = (message,)
        return fault


def servers_in_order(urls: Sequence[str], session: str) -> list[str]:
    """The servers in the order that a session tries them: by hash of (session, server), highest first."""
    return sorted(urls, key=lambda url: hashlib.sha256(f"{session}\n{url}".encode()).digest(), reverse=True)
