"""One YAML file a run: loading, overriding, checking.

Contract: every verb reads the same file and uses its section. What is wrong with it is said in one sentence a fault
(key, value, fix) as :class:`ConfigError`, before anything is started. Files are YAML, overrides are
``section.key=value`` with a value in YAML; both are merged by OmegaConf and checked by pydantic. ``configs/NAME.yaml``
is the shipped recipe wherever the current folder has no such file.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from codeact_train.config.prepare import PrepareConfig
from codeact_train.config.train import TrainConfig
from eval import EvaluateConfig
from launch.config import yaml12
from launch.config.launch import LaunchConfig
from launch.inputs.resolve_model import BUILT_IN
from launch.serve import ServeConfig
from rollout import CollectConfig, EpisodeProtocol, SelectConfig

RECIPES = Path(__file__).resolve().parents[2] / "configs"
"""The recipes that come with the project."""


class ConfigError(ValueError):
    """What a person wrote cannot be used; the message says how to mend it."""


class RayConfig(BaseModel):
    """Where rollouts run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    address: str | None = None
    """Address of a Ray cluster (`auto` for the one this machine belongs to); null starts a private one here."""


class LoopConfig(BaseModel):
    """One run of the loop; each section belongs to the verb of its name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    run: Path = Path("runs/demo")
    """Folder of the run."""
    model: str = BUILT_IN
    """A Hugging Face folder, a hub id, or the built-in small model."""
    protocol: EpisodeProtocol = EpisodeProtocol()
    """How model and environment talk, in collection and evaluation alike."""
    collect: CollectConfig = CollectConfig()
    """Episodes for training."""
    select: SelectConfig = SelectConfig()
    """Which of them become records."""
    prepare: PrepareConfig = PrepareConfig()
    """How records become a corpus."""
    train: TrainConfig = TrainConfig()
    """The training job."""
    launch: LaunchConfig = LaunchConfig()
    """Where the training job runs."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """The checkpoint sweep."""
    serve: ServeConfig = ServeConfig()
    """The model server of collection and evaluation."""
    ray: RayConfig = RayConfig()
    """The Ray session of collection and evaluation."""


def load(path: Path, overrides: list[str]) -> LoopConfig:
    """Reads a YAML file, applies overrides, checks everything that can be checked without a model.

    Raises:
        ConfigError: naming each key, its value and the fix.
    """
    return validate(merge(path, overrides), str(path))


def merge(path: Path, overrides: list[str]) -> dict[str, Any]:
    """The file with the overrides laid over it, unchecked."""
    try:
        values = yaml12.read(_found(path).read_bytes())
        if not isinstance(values, dict | None):
            raise ConfigError(f"{path}: a configuration is a mapping of sections, see configs/demo.yaml")
        merged = OmegaConf.create(values or {})
        for override in overrides:
            _lay_over(merged, override)
        plain = OmegaConf.to_container(merged, resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError) as fault:
        raise ConfigError(f"{path}: {' '.join(str(fault).split())}") from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _found(path: Path) -> Path:
    """The file itself, or the shipped recipe of that name."""
    if path.is_file():
        return path
    shipped = RECIPES.parent / path
    if path.parent == Path(RECIPES.name) and shipped.is_file():
        return shipped
    recipes = ", ".join(f"{RECIPES.name}/{recipe.name}" for recipe in sorted(RECIPES.glob("*.yaml")))
    raise ConfigError(f"{path}: there is no such file; recipes that can be named from anywhere: {recipes}")


def _lay_over(merged: DictConfig, override: str) -> None:
    """Set one ``section.key=value``."""
    key, equals, value = override.partition("=")
    if not (key and equals):
        raise ConfigError(f"'{override}': an override is written section.key=value, for example train.epochs=3")
    try:
        OmegaConf.update(merged, key, yaml12.read(value), force_add=True)
    except (OmegaConfBaseException, yaml.YAMLError) as fault:
        raise ConfigError(f"'{override}': {' '.join(str(fault).split())}") from None


def validate(plain: dict[str, Any], origin: str) -> LoopConfig:
    """The typed configuration.

    Raises:
        ConfigError: one line a fault.
    """
    try:
        return LoopConfig.model_validate(plain)
    except ValidationError as fault:
        raise ConfigError("\n".join(f"{origin}: {_sentence(error)}" for error in fault.errors())) from None


def dump(config: LoopConfig) -> str:
    """The resolved configuration as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def _sentence(error: ErrorDetails) -> str:
    """Key, value, fix."""
    path = [part for part in error["loc"] if isinstance(part, int) or not str(part).startswith("function-")]
    key = ".".join(map(str, path)) or "the file"
    if error["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "tuple_type":
        message = f"a list is wanted, in brackets: {key}=[...]; its entries have numbers where the file holds the list"
    value = error["input"]
    shown = "" if isinstance(value, dict) else f"{value!r} cannot be used: "
    return f"{key}: {shown}{message}"


def _known_keys(path: list[str | int]) -> list[str]:
    """The keys of the section at `path`."""
    model: Any = LoopConfig
    for part in path:
        if isinstance(part, int):
            continue
        model = _section(model.model_fields[part].annotation)
    return list(model.model_fields)


def _section(annotation: Any) -> Any:
    """The model inside ``Model`` or ``tuple[Model, ...]``."""
    arguments = getattr(annotation, "__args__", ())
    return next((part for part in arguments if hasattr(part, "model_fields")), annotation)
