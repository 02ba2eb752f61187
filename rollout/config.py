"""Configuration of collection. Imports neither Ray nor a model, so that launchers may read it for free."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rollout.families import TaskSet
from rollout.trajectory import Sampling


class WorkerConfig(BaseModel):
    """How episodes are run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    workers: int = Field(1, gt=0)
    """Ray actors; one a node or one a few cores."""
    cpus_per_worker: float = Field(1.0, gt=0)
    """CPUs Ray reserves for an actor and its kernels."""
    episodes_per_worker: int = Field(16, gt=0)
    """Episodes an actor runs at once."""
    service: str | None = None
    """Address of `codeact serve sandbox` to get kernels from, its token in CODEACT_SANDBOX_TOKEN; null: from here."""
    warm_kernels: int = Field(8, gt=0)
    """Kernels an actor keeps started ahead of need; a service keeps its own."""
    kernel_memory_mib: int = Field(512, gt=0)
    """Memory of one kernel; with a service the least it must give."""
    require: tuple[str, ...] = ()
    """Isolation that must hold, else nothing starts: any of files, network, processes, memory, disk."""
    infra_retries: int = Field(2, ge=0)
    """How often an episode is run again after a fault of the infrastructure."""

    @field_validator("service")
    @classmethod
    def _an_address(cls, service: str | None) -> str | None:
        if service is not None and not re.fullmatch(r"https?://[^/@\s]+(/\S*)?", service):
            raise ValueError("write it as http://HOST:PORT; the token belongs into CODEACT_SANDBOX_TOKEN")
        return service


class Source(BaseModel):
    """Who works on which tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    engine: Literal["expert", "model"] = "expert"
    """`expert`: the family's scripted expert; `model`: the model being trained, behind a server."""
    tasks: TaskSet = TaskSet()
    """The tasks."""
    samples: int = Field(1, gt=0)
    """Episodes a task, each with its own seed."""
    sampling: Sampling = Sampling()
    """How the model's completions are drawn; the expert ignores it."""
    error_share: float = Field(0.15, ge=0.0, le=1.0)
    """Expert: share of tasks on which it makes a plain mistake first and repairs it."""


class CollectConfig(BaseModel):
    """A collection."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sources: tuple[Source, ...] = (Source(),)
    """Worked through in order."""
    workers: WorkerConfig = WorkerConfig()
    """How episodes are run."""
    max_infra_share: float = Field(0.05, ge=0.0, le=1.0)
    """Largest share of episodes lost to the infrastructure with which a collection still counts."""

    @property
    def needs_model(self) -> bool:
        """Does any source need a model server?"""
        return any(source.engine == "model" for source in self.sources)
