"""The scripted expert: runs a task's demonstration on the observations of the episode.

Contract: stateless. Each turn runs the demonstration from its start with the observations in the conversation, so the
engine gives the same answer after a restart or a move. On a fixed share of the tasks, chosen by their digest, it makes
a plain mistake first and repairs it. An expert with the method ``in_form`` writes its turns in the form of the
protocol; any other writes them in tags.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout.bank.trajectory import Message, Sampling, digest_of
from rollout.engines.base import Completion, EngineError
from rollout.families.base import Task


class ExpertEngine:
    """Demonstrates one task. Token counts are 0: there is no model."""

    def __init__(self, task: Task, name: str, error_share: float, form: str = "tags") -> None:
        self.name = name
        if task.expert is None:
            raise ValueError(f"collect.sources.engine: family '{task.family}' has no expert; use a model")
        in_form = getattr(task.expert, "in_form", None)
        self._expert = in_form(form) if in_form else task.expert
        self._make_mistake = int(digest_of(["errs", task.ref.digest], 8), 16) / 16**8 < error_share

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        """The next turn of the demonstration."""
        demonstration = self._expert(self._make_mistake)
        text = next(demonstration)
        try:
            for message in messages:
                if message.kind in ("observation", "feedback"):
                    text = demonstration.send(message.content.removeprefix("Observation:\n"))
        except StopIteration:
            raise EngineError("model", "the demonstration has ended and the task is not solved") from None
        except (ValueError, LookupError, SyntaxError) as fault:
            raise EngineError("model", f"the expert cannot read the observation: {fault}") from None
        return Completion(
            text=text, token_ids=None, logprobs=None, prompt_tokens=0, completion_tokens=0, finish_reason="stop"
        )

    async def close(self) -> None:
        """Nothing to release."""
