"""Which engine completes an episode: picklable descriptions that a worker builds engines from.

An engine itself (open connections) never crosses a process border; its description does.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import BaseModel, ConfigDict, Field

from rollout.engines.base import Engine
from rollout.engines.expert import ExpertEngine
from rollout.families.base import Task


class ExpertSpec(BaseModel):
    """The scripted expert of the task's family."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["expert"] = "expert"
    error_share: float = Field(0.15, ge=0.0, le=1.0)
    """Share of the tasks on which it makes a plain mistake first."""

    @property
    def name(self) -> str:
        """Stored with every trajectory."""
        return f"expert-{self.error_share:g}"

    def build(self, task: Task) -> Engine:
        """An engine for this one task."""
        return ExpertEngine(task, self.name, self.error_share)


class ServerSpec(BaseModel):
    """A model behind one or more OpenAI-compatible servers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["server"] = "server"
    name: str
    """Stored with every trajectory: the digest of the weights, so that the same work has the same id."""
    base_urls: tuple[str, ...]
    """Servers of the same model; an episode stays on one of them."""
    model: str
    """The name the servers know the model by."""
    tokenizer: str | None = None
    """Folder of the tokenizer; with it prompts are sent as token ids and earlier turns are never encoded again."""

    def build(self, task: Task) -> Engine:
        """An engine that talks to the servers; the task does not matter."""
        from rollout.engines.openai_client import OpenAIEngine

        return OpenAIEngine(self.name, self.base_urls, self.model, self.tokenizer)


EngineSpec = Annotated[Union[ExpertSpec, ServerSpec], Field(discriminator="kind")]  # noqa: UP007 - pydantic reads it on 3.10
