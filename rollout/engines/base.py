"""The interface of engines, which complete chats, and their errors.

Contract: :meth:`Engine.complete` returns the next assistant turn, or raises :class:`EngineError`. Its kind says whether
another attempt can help (``infra``) or not (``model``). :class:`ContextFull` ends an episode with an outcome.
:class:`EngineRefused` is for a server that refuses every request of this configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

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
    choices: Mapping[str, float | None] | None = None
    """The texts that this turn was chosen from, each with its log-probability (:class:`Scores`)."""


@dataclass(frozen=True)
class Scores:
    """How probable each of several texts is as the continuation of one prompt.

    ``logprobs`` are natural log-probabilities in the order of the texts, of the tokens after those that all texts
    share. None stands for a text of which the server gives none: it is less probable than each that has one.
    ``prompt_tokens`` counts those of all requests, ``cached_tokens`` those of them that came from the server's cache.
    """

    logprobs: tuple[float | None, ...]
    prompt_tokens: int = 0
    cached_tokens: int = 0

    @property
    def complete(self) -> bool:
        """Whether every text has a log-probability."""
        return bool(self.logprobs) and None not in self.logprobs

    @property
    def some(self) -> bool:
        """Whether a text has a log-probability, so that there is a most probable one."""
        return any(value is not None for value in self.logprobs)

    @property
    def best(self) -> int:
        """Place of the most probable text, of equal ones the first. Raises ValueError when none has a value."""
        known = [(value, -place) for place, value in enumerate(self.logprobs) if value is not None]
        return -max(known)[1]


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


@runtime_checkable
class ScoringEngine(Engine, Protocol):
    """An engine that also says how probable given texts are, for protocols of the forms ``choice``."""

    async def score(self, prompt: str | Sequence[Message], texts: Sequence[str], *, session: str) -> Scores:
        """How probable each of ``texts`` is after ``prompt``.

        Args:
            prompt: plain text, or a chat: then the texts begin the assistant's next turn.
            texts: at least two, none the same.
            session: as in :meth:`complete`.

        Raises:
            ContextFull: the prompt does not fit the model's context.
            EngineRefused: the server gives no log-probabilities.
            EngineError: anything else.
        """


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
