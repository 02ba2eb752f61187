"""Schema of a run's configuration: :class:`LoopConfig`, one section a verb.

Contract: settings only; reading files and overrides is :mod:`launch.config.load`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from codeact_train import PrepareConfig, Settings, TrainConfig, UserPath
from eval import EvaluateConfig, StudyConfig
from launch.config.launch import LaunchConfig
from launch.config.run_protocol import with_run_protocol
from launch.inputs.resolve_model import BUILT_IN
from launch.serve import ServeConfig
from rollout import ENGINES, CollectConfig, EpisodeProtocol, JudgeConfig, SelectConfig
from rollout.engines import EngineConfig

UserFolder = Annotated[Path, AfterValidator(Path.expanduser)]
"""A folder that a user gives; ``~`` is the home folder."""


class RayConfig(Settings):
    """Where rollouts run."""

    address: str | None = None
    """Address of a Ray cluster (`auto` for the one this machine belongs to); null starts a private one here."""


class LoopConfig(Settings):
    """Configuration of one run of the loop; each section belongs to the verb of its name."""

    extends: str | None = Field(None, exclude=True)
    """Recipe that this file extends: a path relative to this file, or a shipped recipe such as `configs/demo.yaml`.
    Mappings are merged key by key, lists and values of this file replace those of the other. Only a file can extend
    another; the resolved configuration no longer has this key."""
    run: UserFolder = Path("runs/demo")
    """Folder of the run."""
    model: UserPath = BUILT_IN
    """A Hugging Face folder, a hub id, or the built-in small model `smollm2-135m-instruct`."""
    protocol: EpisodeProtocol = EpisodeProtocol()
    """How model and environment talk, both in collection and in evaluation."""
    engines: dict[str, EngineConfig] = Field({})
    """Model servers that run already, by a name that `collect.sources.engine` and `evaluate.engines` use."""
    judge: JudgeConfig = JudgeConfig()
    """The engine that grades by a rubric and gives simulated feedback."""
    collect: CollectConfig = CollectConfig()
    """Episodes for training."""
    select: SelectConfig = SelectConfig()
    """Which episodes become training records."""
    prepare: PrepareConfig = PrepareConfig()
    """How records become a corpus."""
    train: TrainConfig = TrainConfig()
    """The training job."""
    launch: LaunchConfig = LaunchConfig()
    """Where the training job runs."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """The checkpoint sweep."""
    study: StudyConfig = StudyConfig()
    """The study of action formats."""
    serve: ServeConfig = ServeConfig()
    """The model server of collection and evaluation."""
    ray: RayConfig = RayConfig()
    """The Ray session of collection and evaluation."""

    @model_validator(mode="before")
    @classmethod
    def _resolve_run_protocol(cls, values: Any) -> Any:
        return with_run_protocol(values)

    @model_validator(mode="after")
    def _check_engines(self) -> LoopConfig:
        for name in self.engines:
            if name in ENGINES.names():
                raise ValueError(f"engines.{name}: an engine has this name already; choose another")
        for index, source in enumerate(self.collect.sources):
            for name in source.all_names:
                if name not in self.engines:
                    _check_registered(f"collect.sources.{index}.engine", name, self.engines)
                elif source.engine_options:
                    raise ValueError(f"collect.sources.{index}.engine_options: move them to engines.{name}")
        for name in self.evaluate.engines:
            if name not in self.engines:
                raise ValueError(f"evaluate.engines: {name!r} is not in the section engines; add it there")
        if self.judge.engine is not None and self.judge.engine not in self.engines:
            raise ValueError(f"judge.engine: {self.judge.engine!r} is not in the section engines; add it there")
        return self


def _check_registered(key: str, name: str, engines: dict[str, EngineConfig]) -> None:
    try:
        ENGINES.check(name)
    except ValueError as fault:
        here = f"; in the section engines: {', '.join(engines)}" if engines else "; or describe it in `engines`"
        raise ValueError(f"{key}: {fault}{here}") from None
