"""Prices of models, from a YAML file: ``model: {input: 0.5, output: 1.5, cached: 0.25}``, money per million tokens.

A model is named as trajectories store it: ``engines.NAME.name``, else ``engines.NAME.model``.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

MILLION = 1_000_000


class Price(BaseModel):
    """Prices of one model, in any currency, per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    input: float = Field(ge=0)
    """Tokens of prompts."""
    output: float = Field(ge=0)
    """Tokens of completions."""
    cached: float | None = Field(None, ge=0)
    """Tokens of prompts that the server took from its cache; null: as `input`."""

    def of(self, prompt: float, completion: float, cached: float = 0) -> float:
        """The price of so many tokens; those from the cache are part of ``prompt``."""
        fresh = self.input * (prompt - cached) + self.output * completion
        return (fresh + (self.input if self.cached is None else self.cached) * cached) / MILLION


def read_prices(path: Path) -> dict[str, Price]:
    """Model → its prices.

    Raises:
        ValueError: the file is missing, is no YAML mapping, or a price is not a number.
    """
    form = "write one line a model, such as MODEL: {input: 0.5, output: 1.5}, prices per million tokens"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ValueError(f"--prices={path}: {fault.strerror or fault}; {form}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise ValueError(f"--prices={path}: {' '.join(str(fault).split())}; {form}") from None
    if not isinstance(values, dict) or not values:
        raise ValueError(f"--prices={path}: there is no price in it; {form}")
    prices = {}
    for model, given in values.items():
        try:
            prices[str(model)] = Price.model_validate(given)
        except ValidationError as fault:
            first = fault.errors(include_input=False)[0]
            key = ".".join(map(str, (model, *first["loc"])))
            raise ValueError(f"--prices={path}: {key}: {first['msg']}; {form}") from None
    return prices
