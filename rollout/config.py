"""Configuration of collection. Imports neither Ray nor torch, so reading it is cheap."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_serializer, model_validator
from pydantic.functional_serializers import SerializerFunctionWrapHandler

from rollout.bank.trajectory import Sampling
from rollout.families import TaskSet
from rollout.registry import KERNEL_SOURCES


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
    legacy_verdicts: bool = Field(False, exclude_if=lambda value: value is False)
    """Judge each answer by the reference system's rule, too. Both verdicts are stored, and ours decides."""

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


class RepairConfig(BaseModel):
    """First-error repair: failed episodes go on from their first failed cell, in forks of the kernel."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    samples: int = Field(4, gt=0)
    """Branches of each failed episode."""
    at: Literal["after", "before"] = "after"
    """`after`: the model sees the error and goes on; `before`: the turn with the failed cell is drawn again."""
    engine: str | None = None
    """Engine that goes on, such as a stronger one; null: the one that failed."""
    sampling: Sampling | None = None
    """How its completions are drawn; null: as in the episode."""


class Source(BaseModel):
    """An engine, or several, and the tasks that they work on."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    engine: str = "expert"
    """`expert`: the family's scripted expert; `model`: the model in training, behind the server that `serve` starts; a
    name of the section `engines`: a server that runs already; or a registered name."""
    engines: tuple[str, ...] = Field((), exclude_if=lambda value: not value)
    """Several engines that work on the same tasks, in place of `engine`."""
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
    only_unsolved: bool = Field(False, exclude_if=lambda value: value is False)
    """Only the tasks that no episode of the sources before this one has solved, such as for a stronger engine. They are
    known when those sources are done."""
    most_tasks: int | None = Field(None, gt=0, exclude_if=lambda value: value is None)
    """With `only_unsolved`: at most this many of the tasks, drawn with their seed; null: all."""
    repair: RepairConfig | None = Field(None, exclude_if=lambda value: value is None)
    """Go on with the failed episodes of this source; null: no."""

    @model_validator(mode="after")
    def _check_engine_options(self) -> Source:
        if self.engine_options and not self.engines and self.engine in ("expert", "model"):
            raise ValueError(f"engine_options: the engine {self.engine!r} has none; remove them")
        return self

    @model_validator(mode="after")
    def _check_engines(self) -> Source:
        if self.engines and "engine" in self.model_fields_set:
            raise ValueError(f"engines: give engine={self.engine} or engines, not both; put it into engines")
        if self.engines and self.engine_options:
            raise ValueError("engine_options: several engines cannot share them; make a source for each engine")
        if len(set(self.engines)) < len(self.engines):
            raise ValueError(f"engines: {', '.join(self.engines)} names one twice; set samples for several episodes")
        if self.most_tasks is not None and not self.only_unsolved:
            raise ValueError("most_tasks: it limits the tasks of only_unsolved; set tasks.count, or only_unsolved=true")
        return self

    @model_validator(mode="after")
    def _check_repair(self) -> Source:
        repair = self.repair
        if repair is None:
            return self
        greedy = (repair.sampling or self.sampling).temperature == 0
        if greedy and repair.samples > 1:
            raise ValueError(
                f"repair.samples={repair.samples}: branches drawn at temperature 0 are all the same; set "
                "repair.sampling.temperature, or samples=1"
            )
        if greedy and repair.at == "before" and repair.engine is None:
            raise ValueError(
                "repair.at=before: at temperature 0 the engine writes the failed turn again; set "
                "repair.sampling.temperature, or at=after"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_unused_engine(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out ``engine`` beside ``engines``, so that a file that is written out can be read again."""
        values: dict[str, Any] = dump(self)
        if self.engines:
            values.pop("engine", None)
        return values

    @property
    def names(self) -> tuple[str, ...]:
        """The engines that start episodes."""
        return self.engines or (self.engine,)

    @property
    def all_names(self) -> tuple[str, ...]:
        """The engines that start episodes or repair them."""
        repairs = (self.repair.engine,) if self.repair and self.repair.engine else ()
        return tuple(dict.fromkeys((*self.names, *repairs)))


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
        return any("model" in source.all_names for source in self.sources)

    @property
    def engine_names(self) -> list[str]:
        """Every engine that a source names."""
        return list(dict.fromkeys(name for source in self.sources for name in source.all_names))
