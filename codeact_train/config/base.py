"""Base of every configuration."""

from __future__ import annotations

import os.path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

UserPath = Annotated[str, AfterValidator(os.path.expanduser)]
"""A path that a user gives; ``~`` is the home folder."""


class Settings(BaseModel):
    """Base of every configuration: immutable, unknown keys and infinite numbers are errors, docstrings become
    descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    RENAMED: ClassVar[dict[str, str]] = {}
    """Former names of keys and their present names. Both are accepted; the command ``codeact`` prints a notice."""

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for old, new in cls.RENAMED.items():
            if old in values:
                if new in values:
                    raise ValueError(f"{old} and {new} are both given; {old} is the former name of {new}, leave it out")
                values[new] = values.pop(old)
        return values
