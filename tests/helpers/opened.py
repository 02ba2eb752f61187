"""Tools of a task that run in a simulator or a browser, as an episode opens them."""

import asyncio
from collections.abc import Callable
from typing import Any

from rollout.families import Toolset


class Opened:
    """A fresh copy of a toolset, opened. Its functions are attributes; it is closed at the end of ``with``."""

    def __init__(self, toolset: Toolset) -> None:
        self.toolset: Any = toolset.fresh()
        asyncio.run(self.toolset.open())
        self.functions: dict[str, Callable[..., Any]] = self.toolset.functions()

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *error: object) -> None:
        self.toolset.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self.functions[name]

    @property
    def outcome(self) -> tuple[str, float] | None:
        """Reason and reward; None while the task goes on."""
        outcome = self.toolset.outcome()
        return None if outcome is None else (outcome.reason, outcome.reward)
