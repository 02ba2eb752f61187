"""What the toolsets of kind ``tool`` share: a line that may be busy, and how a function presents itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rollout.families.base import Toolset


class BusyLine(Toolset):
    """A toolset whose first call may find the line busy."""

    def __init__(self, busy: bool) -> None:
        self.busy = busy

    def dial(self) -> None:
        """Raises ConnectionError once, when the line is busy."""
        if self.busy:
            self.busy = False
            raise ConnectionError("the line is busy, call again")


def described(
    function: Callable[..., Any], name: str, doc: str, parameters: tuple[str, ...] = ("text",)
) -> Callable[..., Any]:
    """Gives a function the name, signature and documentation the model is to see."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    returns = inspect.signature(function, eval_str=True).return_annotation
    function.__name__, function.__doc__ = name, doc
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(parameter, kind, annotation=str) for parameter in parameters], return_annotation=returns
    )
    return function
