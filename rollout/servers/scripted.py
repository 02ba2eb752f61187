"""A backend without a model: replies chosen by rules, and faults on demand.

Contract: the HTTP surface, its fields and its routes are the real server's, so what talks to a model can be tested
without one. The first rule that matches gives the reply; what matches is a regular expression over the rendered prompt.
Tokens are the bytes of the text (each log-probability 0), plus one end token. Everything is deterministic.

Does not do: sampling; temperature, top_p and seed are taken and have no effect.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rollout.servers.backend import Generation, GenerationRequest, cut_at_stop
from rollout.trajectory import digest_of

_END = 256


class Rule(BaseModel):
    """What is said to which prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    match: str = ""
    """Regular expression searched in the rendered prompt; empty matches everything."""
    turn: int | None = None
    """Only when the prompt holds this many assistant turns already."""
    reply: str = ""
    """The assistant's turn."""
    fault: Literal["error", "slow", "truncated"] | None = None
    """`error`: HTTP 500; `slow`: the reply comes after ``delay_s``; `truncated`: it ends in its middle."""
    delay_s: float = Field(0.0, ge=0.0)
    """Wait before the reply of a `slow` rule."""
    times: int | None = Field(None, gt=0)
    """How often the rule applies; null is always."""


class Script(BaseModel):
    """The rules, tried in order."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rules: tuple[Rule, ...] = ()
    """The first that matches applies; none is HTTP 500."""
    name: str = "scripted"
    """What the server calls its model."""
    context_length: int = Field(1 << 20, gt=0)
    """In bytes, which are this model's tokens."""


class BytesCodec:
    """UTF-8 bytes as token ids, ChatML as the template."""

    def encode(self, text: str) -> list[int]:
        """One id a byte."""
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

    async def generate(self, job: GenerationRequest) -> Generation:
        """See :class:`~rollout.servers.backend.Backend`."""
        self.in_flight += 1
        try:
            return await self._reply(job, self._rule(self.codec.decode(job.prompt_ids)))
        finally:
            self.in_flight -= 1

    async def _reply(self, job: GenerationRequest, rule: Rule) -> Generation:
        if rule.fault == "error":
            raise RuntimeError("the script says this request fails")
        if rule.fault == "slow":
            await asyncio.sleep(rule.delay_s)
        ids = [*self.codec.encode(cut_at_stop(rule.reply, job.stop, include=True)), _END]
        if rule.fault == "truncated":
            ids = ids[: len(ids) // 2]
        if any(rule.reply.find(stop) >= 0 for stop in job.stop):
            ids = [token for token in ids if token != _END]  # a stop string ends the turn before its end token
        kept = tuple(ids[: job.max_tokens])
        cut_short = rule.fault == "truncated" or len(kept) < len(ids)
        return Generation(kept, (0.0,) * len(kept), "length" if cut_short else "stop")

    async def load(self, folder: Path) -> None:
        """Takes the new model's name; the rules stay."""
        self.name = folder.name

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
