"""Configuration of collection. Imports neither Ray nor torch, so reading it is cheap."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from rollout.families import TaskSet
from rollout.registry import KERNEL_SOURCES
from rollout.trajectory import Sampling


class WorkerConfig(BaseModel):
    """Workers that run episodes, and their kernels."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    workers: int = Field(1, gt=0)
    """Ray actors: one for each node, or one for a few cores."""
    cpus_per_worker: float = Field(1.0, gt=0)
    """CPUs that Ray reserves for an actor and its kernels."""
    episodes_per_worker: int = Field(16, gt=0)
    """Episodes that an actor runs at once."""
    service: str | None = None
    """Address of a `codeact serve sandbox` that gives the kernels, its token in CODEACT_SANDBOX_TOKEN; null: local."""
    kernel_source: Annotated[str, AfterValidator(KERNEL_SOURCES.check)] | None = None
    """Name of a registered kernel source; null: `service` when an address is given, else `local`."""
    kernel_options: dict[str, Any] = {}
    """Settings of a kernel source that an installed package adds."""
    warm_kernels: int = Field(8, gt=0)
    """Kernels that an actor keeps started for the next episodes; a service keeps its own."""
    kernel_memory_mib: int = Field(512, gt=0)
    """Memory of one kernel; with a service, the minimum that it must offer."""
    require: tuple[str, ...] = ()
    """Isolation that must be enforced, else nothing starts: any of files, network, processes, memory, disk."""
    infra_retries: int = Field(2, ge=0)
    """Retries of an episode after an infrastructure failure."""

    @field_validator("service")
    @classmethod
    def _check_address(cls, service: str | None) -> str | None:
        if service is not None and not re.fullmatch(r"https?://[^/@\s]+(/\S*)?", service):
            raise ValueError("write it as http://HOST:PORT; the token belongs into CODEACT_SANDBOX_TOKEN")
        return service

    @model_validator(mode="after")
    def _check_kernel_source(self) -> WorkerConfig:
        if self.kernel_source == "local" and self.service is not None:
            raise ValueError("kernel_source=local ignores the address in service; remove one of them")
        if self.kernel_source == "service" and self.service is None:
            raise ValueError("kernel_source=service needs the address in service; write http://HOST:PORT")
        if self.kernel_options and self.chosen_kernel_source in ("local", "service"):
            raise ValueError(f"kernel_options: the kernel source {self.chosen_kernel_source!r} has none; remove them")
        return self

    @property
    def chosen_kernel_source(self) -> str:
        """Name of the kernel source."""
        return self.kernel_source or ("local" if self.service is None else "service")


class Source(BaseModel):
    """An engine and the tasks that it works on."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    engine: str = "expert"
    """`expert`: the family's scripted expert; `model`: the model in training, behind the server that `serve` starts; a
    name of the section `engines`: a server that runs already; or a registered name."""
    engine_options: dict[str, Any] = {}
    """Settings of an engine that an installed package adds."""
    tasks: TaskSet = TaskSet()
    """The tasks."""
    samples: int = Field(1, gt=0)
    """Episodes of each task, each with its own seed."""
    sampling: Sampling = Sampling()
    """How the model's completions are drawn; the expert ignores it."""
    error_share: float = Field(0.15, ge=0.0, le=1.0)
    """Expert: share of tasks on which it makes a plain mistake first and repairs it."""

    @model_validator(mode="after")
    def _check_engine_options(self) -> Source:
        if self.engine_options and self.engine in ("expert", "model"):
            raise ValueError(f"engine_options: the engine {self.engine!r} has none; remove them")
        return self


class JudgeConfig(BaseModel):
    """The engine that grades by a rubric and gives simulated feedback."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    engine: str | None = None
    """A name of the section `engines`; null: there is no judge, and tasks that need one are refused."""
    sampling: Sampling = Sampling(max_tokens=512)
    """How its answers are drawn."""


class CollectConfig(BaseModel):
    """A collection of trajectories."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    sources: tuple[Source, ...] = (Source(),)
    """Engines and their tasks, in order."""
    workers: WorkerConfig = WorkerConfig()
    """How episodes are run."""
    max_infra_share: float = Field(0.05, ge=0.0, le=1.0)
    """Largest share of episodes that may be lost to infrastructure failures before the collection is refused."""

    @property
    def needs_model(self) -> bool:
        """Whether any source needs a server of the model in training."""
        return any(source.engine == "model" for source in self.sources)
