"""Descriptions of engines: picklable values from which a worker builds engines.

An engine itself (open connections) never crosses a process border; its description does. A description holds no key,
only the name of the environment variable that has it: the worker reads it where it builds the engine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field

from rollout.engines.base import Engine
from rollout.engines.config import EngineConfig
from rollout.engines.expert import ExpertEngine
from rollout.families.base import Task

DEFAULT_KEY = "OPENAI_API_KEY"
"""Read where no other variable is named, and needed by nobody."""


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
    form: str = "tags"
    """Form of the protocol, for experts that know several."""

    @property
    def name(self) -> str:
        """Stored with every trajectory."""
        return f"expert-{self.error_share:g}"

    def build(self, task: Task) -> Engine:
        """An engine for this one task."""
        return ExpertEngine(task, self.name, self.error_share, self.form)


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
    api_key_env: str | None = DEFAULT_KEY
    """Environment variable that holds the key; null: no key."""
    headers: Mapping[str, str] = {}
    """Further headers of every request."""
    headers_env: Mapping[str, str] = {}
    """Further headers, each with the environment variable that holds its value."""
    timeout_s: float = 600.0
    """Time limit of one request."""
    retries: int = 3
    """Attempts after the first, on one server."""

    def build(self, task: Task) -> Engine:
        """An engine that talks to the servers. Raises ``ValueError`` when a variable is not set."""
        from rollout.engines.openai_client import OpenAIEngine

        key = None
        if self.api_key_env == DEFAULT_KEY:
            key = os.environ.get(DEFAULT_KEY)
        elif self.api_key_env is not None:
            key = _variable(self.name, self.api_key_env)
        secret_headers = {header: _variable(self.name, name) for header, name in self.headers_env.items()}
        return OpenAIEngine(
            self.name,
            self.base_urls,
            self.model,
            self.tokenizer,
            api_key=key,
            headers=self.headers,
            secret_headers=secret_headers,
            timeout_s=self.timeout_s,
            retries=self.retries,
        )


def running_server(key: str, config: EngineConfig) -> ServerSpec:
    """The description of a server that runs already.

    Args:
        key: its name in the section ``engines``.
        config: its settings.

    Raises:
        ValueError: an environment variable that it names is not set.
    """
    for variable in config.variables:
        _variable(key, variable)
    return ServerSpec(
        name=config.name or config.model,
        base_urls=config.base_urls,
        model=config.model,
        tokenizer=config.tokenizer,
        api_key_env=config.api_key_env,
        headers=config.headers,
        headers_env=config.headers_env,
        timeout_s=config.timeout_s,
        retries=config.retries,
    )


def _variable(engine: str, name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise ValueError(f"engines.{engine}: the environment variable {name} is not set; export it with the key")
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"engines.{engine}: the environment variable {name} holds characters that no header can have")
    return value
