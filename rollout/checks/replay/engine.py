"""The engine of a replay: it says what the recorded model said, turn by turn.

Contract: the turn follows from the number of assistant turns in the conversation, so an episode can be moved or started
again. After the last recorded turn there is nothing to say, which is an :class:`EngineError` of kind ``model``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollout.bank.trajectory import Message, Sampling
from rollout.checks.replay.recorded import RecordedTurn
from rollout.engines.base import Completion, EngineError

ENDED = "the recording has ended"


class ReplayEngine:
    """Repeats the turns of one run. Token counts are 0: there is no model."""

    takes_tools = True

    def __init__(self, name: str, turns: Sequence[RecordedTurn]) -> None:
        self.name, self._turns = name, turns

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        session: str,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> Completion:
        """The next recorded turn, with its native calls."""
        said = sum(message.role == "assistant" and message.kind != "instruction" for message in messages)
        if said >= len(self._turns):
            raise EngineError("model", f"{ENDED} after {said} turns")
        return Completion(
            text=self._turns[said].text,
            token_ids=None,
            logprobs=None,
            prompt_tokens=0,
            completion_tokens=0,
            finish_reason="stop",
            tool_calls=self._turns[said].calls,
        )

    async def close(self) -> None:
        """Nothing to release."""
