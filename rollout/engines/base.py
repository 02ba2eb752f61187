"""The interface of engines, which complete chats, and their errors.

Contract: :meth:`Engine.complete` returns the next assistant turn, or raises :class:`EngineError`. Its kind says whether
another attempt can help (``infra``) or not (``model``). :class:`ContextFull` ends an episode with an outcome.
:class:`EngineRefused` is for a server that refuses every request of this configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rollout.bank.trajectory import Message, Sampling, ToolCall


@dataclass(frozen=True)
class Completion:
    """One assistant turn.

    ``text`` includes the stop string that ended it. ``token_ids`` are what the engine sampled, an end-of-turn token
    included, and ``logprobs`` their raw (temperature 1) natural log-probabilities, one each; both are None when the
    server does not return them. The last token may extend beyond the stop string; then the ids are longer.
    ``reasoning`` is the thinking that a server returns beside the text. Counts are 0 when the server reports none;
    ``cached_tokens`` are those of ``prompt_tokens`` that came from the server's cache.
    """

    text: str
    token_ids: tuple[int, ...] | None
    logprobs: tuple[float, ...] | None
    prompt_tokens: int
    completion_tokens: int
    finish_reason: Literal["stop", "length"]
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    """Native calls, when tools were offered."""
    cached_tokens: int = 0


class Engine(Protocol):
    """Completes chats; safe to call concurrently from one event loop.

    An engine with a true attribute ``takes_tools`` has a further argument ``tools`` of :meth:`complete`: descriptions
    of functions in the form of OpenAI's API, for protocols with native calls.
    """

    name: str
    """Stored with every trajectory."""

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        """The next assistant turn after ``messages``.

        Args:
            messages: the conversation so far, ending with a user turn.
            sampling: how to draw the turn.
            session: id of the episode; calls of one session go to one server, which has its prefix in the cache.

        Raises:
            ContextFull: the conversation and ``sampling.max_tokens`` do not fit the model's context.
            EngineRefused: the server refuses every request of this configuration.
            EngineError: anything else.
        """

    async def close(self) -> None:
        """Closes connections; the engine is not used afterwards."""


class EngineError(Exception):
    """No completion. ``kind`` is ``infra`` (server lost or broken: worth a retry) or ``model`` (would fail again)."""

    def __init__(self, kind: Literal["infra", "model"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ContextFull(EngineError):
    """The conversation does not fit the model's context."""

    def __init__(self, message: str) -> None:
        super().__init__("model", message)


class EngineRefused(EngineError):
    """The server refuses requests of this configuration: a wrong key, address or model name, for example.

    Its kind is ``infra``: the model has no part in it. When it happens again and again, a collection stops.
    """

    def __init__(self, message: str) -> None:
        super().__init__("infra", message)
