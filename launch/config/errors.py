"""The error of a configuration, and the notice of keys that have a new name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from sandbox.validation import model_in


class ConfigError(ValueError):
    """The configuration cannot be used; the message has one line an error, with key, value and fix."""


def renamed_keys(model: type[BaseModel], values: Mapping[str, Any], section: str = "") -> Iterator[str]:
    """One sentence for each key of ``values`` that is accepted under its old name."""
    renamed: Mapping[str, str] = getattr(model, "RENAMED", {})
    for key, value in values.items():
        name = renamed.get(key, key)
        if name != key:
            yield f"{section}{key} is now {section}{name}"
        inner = model_in(model.model_fields[name].annotation) if name in model.model_fields else None
        for entry in value if isinstance(value, list) else [value]:
            if inner and isinstance(entry, dict):
                yield from renamed_keys(inner, entry, f"{section}{name}.")
