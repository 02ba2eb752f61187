"""Descriptions of engines: picklable values from which a worker builds engines.

An engine itself (open connections) never crosses a process border; its description does.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from rollout.engines.base import Engine
from rollout.engines.expert import ExpertEngine
from rollout.families.base import Task


class EngineSpec(Protocol):
    """What an engine registers in :data:`rollout.registry.ENGINES`: a class or function that returns one of these."""

    @property
    def name(self) -> str:
        """Stored with every trajectory and part of its id: it must identify the model."""

    @property
    def shared(self) -> bool:
        """True: a worker builds one engine for all of its episodes. False: one for each."""

    def build(self, task: Task) -> Engine:
        """An engine; with ``shared``, ``task`` is the first of the worker and does not matter."""


class ExpertSpec(BaseModel):
    """The scripted expert of the task's family."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shared: ClassVar[bool] = False
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

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shared: ClassVar[bool] = True
    name: str
    """Stored with every trajectory: the digest of the weights, so that the same work has the same id."""
    base_urls: tuple[str, ...]
    """Servers of the same model; an episode stays on one of them."""
    model: str
    """Name of the model in requests to the servers."""
    tokenizer: str | None = None
    """Folder of the tokenizer. With it prompts are sent as token ids, and earlier turns are never encoded again."""

    def build(self, task: Task) -> Engine:
        """An engine that talks to the servers."""
        from rollout.engines.openai_client import OpenAIEngine

        return OpenAIEngine(self.name, self.base_urls, self.model, self.tokenizer)
