"""How probable given texts are as the continuation of a prompt, asked of an OpenAI-compatible server.

Contract: servers offer this in three ways, which are tried in this order, and a way that a server refuses is not tried
again by the same :class:`Scorer`.

1. The most probable first tokens (``logprobs`` of ``/v1/completions``, 20, else 5): one request. It is enough when each
   text is one token and all of them are in the list.
2. ``echo`` with ``logprobs``: one request a text, which returns the log-probability of every token of prompt and text.
3. ``top_logprobs`` of ``/v1/chat/completions``, where a chat has to be rendered by the server.

A log-probability is that of the tokens after those that all texts share; of whole texts, so that a letter may be
several tokens. A text that is not among the first tokens, where there is no echo, has none: it is less probable than
each text that has one. When no text has one, nothing is known, and :class:`~rollout.engines.base.EngineRefused` says
which server and setting helps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from rollout.engines.base import ContextFull, EngineError, EngineRefused, Scores
from rollout.engines.replies import Json, cached_tokens, count_of, first_choice, is_logprob

MOST_FIRST_TOKENS = (20, 5, 0)
"""How many first tokens are asked for: vLLM's limit, OpenAI's, none."""
Ask = Callable[[str, Json], Awaitable[Json]]
"""(path, body) → the object that the server answers. Raises :class:`EngineError`."""
_HELP = (
    "it needs a server that returns log-probabilities: vLLM with --max-logprobs 20, llama.cpp, or `serve.backend` "
    "openvino or transformers; with engines.NAME.tokenizer the prompt is sent as token ids"
)


@dataclass(frozen=True)
class Texts:
    """A prompt with each of the texts.

    Attributes:
        whole: prompt and text of each, as text or token ids.
        shared: what all of them begin with: the prompt, and the token ids that the texts share.
        names: how a server names the first token of each text; None when a text has several tokens.
    """

    whole: Sequence[str] | Sequence[Sequence[int]]
    shared: str | Sequence[int]
    names: Sequence[str] | None

    @classmethod
    def plain(cls, prompt: str, texts: Sequence[str]) -> Texts:
        """A plain prompt, which the server encodes."""
        return cls([prompt + text for text in texts], prompt, texts)

    @classmethod
    def encoded(cls, lists: Sequence[Sequence[int]]) -> Texts:
        """Token ids of prompt and text, each encoded as a whole."""
        shared = _shared(lists)
        single = all(len(ids) == shared + 1 for ids in lists)
        return cls(lists, lists[0][:shared], [f"token_id:{ids[-1]}" for ids in lists] if single else None)

    @property
    def are_ids(self) -> bool:
        """Whether they are token ids."""
        return not isinstance(self.shared, str)


@dataclass
class Scorer:
    """Asks the servers of one model, and remembers what they refuse."""

    model: str
    _first: dict[str, int] = field(default_factory=dict)
    """Route → place in :data:`MOST_FIRST_TOKENS`."""
    _no_echo: bool = False

    async def by_completion(self, ask: Ask, where: str, texts: Texts) -> Scores:
        """The scores of texts after a prompt that this side has rendered.

        Raises:
            EngineRefused: the server gives no log-probabilities for any text.
            EngineError: as :meth:`rollout.engines.base.Engine.complete`.
        """
        body = {"prompt": texts.shared, "max_tokens": 1, "temperature": 0.0}
        if texts.are_ids:
            body["return_tokens_as_token_ids"] = True
        known, refused = Scores(()), ""
        if texts.names is not None:
            known, refused = await self._first_tokens(ask, "/completions", body, "logprobs", texts.names)
        if known.complete:
            return known
        if not self._no_echo:
            try:
                return await self._echoed(ask, where, texts)
            except EngineRefused as fault:
                self._no_echo, refused = True, str(fault)
        if known.some:
            return known
        self._first.clear()
        self._no_echo = False
        raise _unknown(where, None if texts.are_ids else texts.names, refused)

    async def by_chat(self, ask: Ask, where: str, messages: Sequence[Json], texts: Sequence[str]) -> Scores:
        """The scores of texts as the beginning of the next turn, in a chat that the server renders.

        What all texts begin with, up to a space, is the beginning of that turn: servers such as vLLM and SGLang go on
        with it.

        Raises: as :meth:`by_completion`.
        """
        prefix = texts[0][: _shared(texts)].rpartition(" ")[0].rstrip()
        names = [text[len(prefix) :].strip() for text in texts]
        body: Json = {"messages": list(messages), "max_tokens": 1, "temperature": 0.0, "logprobs": True}
        if prefix:
            body["messages"] = [*messages, {"role": "assistant", "content": prefix}]
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        known, refused = await self._first_tokens(ask, "/chat/completions", body, "top_logprobs", names, strip=True)
        if known.some:
            return known
        self._first.clear()
        raise _unknown(where, texts, refused)

    async def _first_tokens(
        self, ask: Ask, path: str, body: Json, key: str, names: Sequence[str], *, strip: bool = False
    ) -> tuple[Scores, str]:
        """The scores of those texts that are among the most probable first tokens, and what the server refused."""
        refused = ""
        while count := MOST_FIRST_TOKENS[self._first.get(path, 0)]:
            try:
                reply = await ask(path, {"model": self.model, **body, key: count})
            except ContextFull:
                raise
            except EngineRefused as fault:
                refused = str(fault)
                self._first[path] = self._first.get(path, 0) + 1
                continue
            found = _listed(first_choice(reply, path), strip=strip)
            return Scores(
                tuple(found.get(name) for name in names), count_of(reply, "prompt_tokens"), cached_tokens(reply)
            ), ""
        return Scores(()), refused

    async def _echoed(self, ask: Ask, where: str, texts: Texts) -> Scores:
        """The scores of whole texts. Raises EngineRefused when the server does not echo."""
        common = {"model": self.model, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}
        try:
            replies = await asyncio.gather(*(ask("/completions", {**common, "prompt": one}) for one in texts.whole))
        except EngineError as fault:
            if "echo" in str(fault).lower() and not isinstance(fault, ContextFull):
                raise EngineRefused(str(fault)) from fault
            raise
        read = [_echo(reply, where) for reply in replies]
        if texts.are_ids:
            start = len(texts.shared)
            ends = [len(ids) for ids in texts.whole]
        else:
            names = [[name for name, _ in tokens] for tokens in read]
            start = _shared(names)
            ends = list(map(len, names))
        tails = [[value for _, value in tokens[start:end]] for tokens, end in zip(read, ends, strict=True)]
        if any(len(tokens) < end for tokens, end in zip(read, ends, strict=True)) or not any(tails):
            raise EngineRefused(f"{where} does not echo the whole prompt")
        if not all(is_logprob(value) for tail in tails for value in tail):
            raise EngineError("infra", f"{where} answered with log-probabilities that are no numbers")
        return Scores(
            tuple(float(sum(tail)) for tail in tails),
            sum(count_of(reply, "prompt_tokens") for reply in replies),
            sum(map(cached_tokens, replies)),
        )


def _listed(choice: Json, *, strip: bool) -> dict[str, float]:
    """The first tokens of a choice with their log-probabilities: OpenAI's two forms, and llama.cpp's with token ids.

    Args:
        strip: leave out spaces around a token; of several that are then the same, the most probable counts.
    """
    holder = choice.get("logprobs")
    holder = holder if isinstance(holder, dict) else {}
    entries: list[tuple[Any, Any]] = []
    if isinstance(content := holder.get("content"), list) and content and isinstance(content[0], dict):
        for one in content[0].get("top_logprobs") or ():
            if isinstance(one, dict):
                entries += [(one.get("token"), one.get("logprob")), (f"token_id:{one.get('id')}", one.get("logprob"))]
    elif isinstance(tops := holder.get("top_logprobs"), list) and tops and isinstance(tops[0], Mapping):
        entries += tops[0].items()
    found: dict[str, float] = {}
    for name, value in entries:
        if isinstance(name, str) and is_logprob(value):
            key = name.strip() if strip else name
            found[key] = max(value, found.get(key, value))
    return found


def _echo(reply: Json, where: str) -> list[tuple[str, Any]]:
    """Text and log-probability of each token of the prompt. Raises EngineRefused when they are not there."""
    holder = first_choice(reply, where).get("logprobs")
    tokens, values = (holder.get(key) if isinstance(holder, dict) else None for key in ("tokens", "token_logprobs"))
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        raise EngineRefused(f"{where} returns no log-probabilities of the prompt")
    count = count_of(reply, "prompt_tokens") or len(values) - 1
    if len(values) < count or not count:
        raise EngineRefused(f"{where} does not echo the prompt")
    return list(zip(map(str, tokens), values, strict=True))[:count]


def _shared(sequences: Sequence[Sequence[Any]]) -> int:
    """How many items all sequences begin with."""
    return sum(1 for _ in takewhile(lambda items: len(set(items)) == 1, zip(*sequences, strict=False)))


def _unknown(where: str, texts: Sequence[str] | None, refused: str) -> EngineRefused:
    """The refusal of a server that gives no log-probability of any text."""
    shown = ", ".join(map(repr, texts)) if texts else "the texts"
    return EngineRefused(f"{where} does not say how probable {shown} are: {refused or 'none is listed'}; {_HELP}")
