"""Loads, checks and writes out a run's configuration.

Contract: everything that can be checked without a model or a corpus is checked before anything is started. All errors
are reported at once, one line each, as :class:`ConfigError`. A key under its old name is accepted; a line on standard
error gives its new one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from launch.config.errors import ConfigError, renamed_keys
from launch.config.loop import LoopConfig
from launch.config.recipe import read_recipe
from launch.console import say
from rollout.engines import SECRET_FIELDS
from sandbox.validation import format_errors


def load(path: Path, overrides: list[str]) -> LoopConfig:
    """The configuration of a YAML file with overrides.

    Raises:
        ConfigError: naming each key, its value and the fix.
    """
    return validate(read_recipe(path, overrides), str(path))


def validate(values: dict[str, Any], origin: str) -> LoopConfig:
    """The configuration of plain values; ``origin`` names their file in messages.

    Raises:
        ConfigError: one line an error.
    """
    try:
        config = LoopConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(format_errors(f"{origin}: ", error, model=LoopConfig, secret=SECRET_FIELDS)) from None
    for sentence in renamed_keys(LoopConfig, values):
        say(f"notice: {origin}: {sentence}")
    return config


def dump(config: LoopConfig) -> str:
    """The resolved configuration as YAML, with every default written out; :func:`load` reads the same values."""
    values = _without_interpolation(config.model_dump(mode="json"))
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def _without_interpolation(value: Any) -> Any:
    """The values with ``${`` escaped, which OmegaConf would read as a reference to another key."""
    if isinstance(value, dict):
        return {key: _without_interpolation(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_interpolation(inner) for inner in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
