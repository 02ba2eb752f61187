"""What the toolsets of kind ``tool`` share: a first call that may fail, and custom signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rollout.families.base import Toolset


class FlakyToolset(Toolset):
    """A toolset whose first call fails when ``busy`` is set."""

    def __init__(self, busy: bool) -> None:
        self.busy = busy

    def connect(self) -> None:
        """Raises ConnectionError once, when the line is busy."""
        if self.busy:
            self.busy = False
            raise ConnectionError("the line is busy, call again")


def documented(
    function: Callable[..., Any], name: str, doc: str, parameters: tuple[str, ...] = ("text",)
) -> Callable[..., Any]:
    """Sets the name, signature and docstring that the model sees; returns the function."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    returns = inspect.signature(function, eval_str=True).return_annotation
    function.__name__, function.__doc__ = name, doc
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(parameter, kind, annotation=str) for parameter in parameters], return_annotation=returns
    )
    return function
