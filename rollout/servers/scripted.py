"""A backend without a model: rules choose the replies, and faults can be injected.

Contract: routes and fields are those of the real server, so clients of a model can be tested without one. The first
rule whose regular expression matches the rendered prompt gives the reply. Tokens are the bytes of the text (each
log-probability 0) plus one end token. Everything is deterministic.

Does not do: sampling. temperature, top_p and seed are accepted and have no effect.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rollout.bank.trajectory import digest_of
from rollout.servers.backend import Generation, GenerationRequest, cut_at_stop

_END = 256


class Rule(BaseModel):
    """A reply and the prompts that get it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    match: str = ""
    """Regular expression searched in the rendered prompt; empty matches everything."""
    turn: int | None = None
    """Only prompts with this many earlier assistant turns."""
    reply: str = ""
    """The assistant's turn."""
    fault: Literal["error", "slow", "truncated"] | None = None
    """`error`: HTTP 500; `slow`: the reply comes after ``delay_s``; `truncated`: only its first half comes."""
    delay_s: float = Field(0.0, ge=0.0)
    """Wait before the reply of a `slow` rule."""
    times: int | None = Field(None, gt=0)
    """How often the rule applies; null: always."""


class Script(BaseModel):
    """The rules, tried in order."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rules: tuple[Rule, ...] = ()
    """The first that matches applies. When none matches, the response is HTTP 500."""
    name: str = "scripted"
    """Name of the model."""
    context_length: int = Field(1 << 20, gt=0)
    """In bytes: a byte is a token."""


class BytesCodec:
    """UTF-8 bytes as token ids, ChatML as the template."""

    def encode(self, text: str) -> list[int]:
        """One id for each byte."""
        return list(text.encode())

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text, end tokens left out."""
        return bytes(token for token in token_ids if token < _END).decode(errors="replace")

    def render(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """ChatML, open for the assistant."""
        turns = "".join(f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n" for message in messages)
        return self.encode(turns + "<|im_start|>assistant\n")


class ScriptedBackend:
    """Answers from a :class:`Script`."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._used = [0] * len(script.rules)
        self.name, self.context_length = script.name, script.context_length
        self.digest = digest_of(script.model_dump())
        self.codec = BytesCodec()
        self.in_flight = 0

    async def generate(self, request: GenerationRequest) -> Generation:
        """See :class:`~rollout.servers.backend.Backend`."""
        self.in_flight += 1
        try:
            return await self._reply(request, self._rule(self.codec.decode(request.prompt_ids)))
        finally:
            self.in_flight -= 1

    async def _reply(self, request: GenerationRequest, rule: Rule) -> Generation:
        if rule.fault == "error":
            raise RuntimeError("a rule of the script fails this request")
        if rule.fault == "slow":
            await asyncio.sleep(rule.delay_s)
        ids = [*self.codec.encode(cut_at_stop(rule.reply, request.stop, include=True)), _END]
        if rule.fault == "truncated":
            ids = ids[: len(ids) // 2]
        if any(rule.reply.find(stop) >= 0 for stop in request.stop):
            ids = [token for token in ids if token != _END]  # a stop string ends the turn before its end token
        kept = tuple(ids[: request.max_tokens])
        cut_short = rule.fault == "truncated" or len(kept) < len(ids)
        return Generation(kept, (0.0,) * len(kept), "length" if cut_short else "stop")

    async def close(self) -> None:
        """Nothing to release."""

    def _rule(self, prompt: str) -> Rule:
        turns = prompt.count("<|im_start|>assistant") - 1
        for index, rule in enumerate(self._script.rules):
            spent = rule.times is not None and self._used[index] >= rule.times
            if not spent and rule.turn in (None, turns) and re.search(rule.match, prompt):
                self._used[index] += 1
                return rule
        raise RuntimeError("no rule of the script matches the prompt")
