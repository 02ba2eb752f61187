"""Filters one after another, with the number of records that each leaves.

Contract: a part of the mixture turns rows into records; :class:`Steps` keeps the order of the filters and counts every
record once, at the last filter it passed. Sampling depends on the seed and the records alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

Row = dict[str, Any]
Turn = dict[str, str]
Conversation = list[Turn]


@dataclass
class Steps:
    """Names of filters in their order → the number of records that are left after each."""

    left: dict[str, int] = field(default_factory=dict)

    def through(self, name: str, rows: Iterable[Any], keep: Callable[[Any], bool]) -> Iterator[Any]:
        """The rows that ``keep`` accepts, counted."""
        self.left[name] = 0
        return self._counted(name, rows, keep)

    def _counted(self, name: str, rows: Iterable[Any], keep: Callable[[Any], bool]) -> Iterator[Any]:
        for row in rows:
            if keep(row):
                self.left[name] += 1
                yield row

    def sampled(self, rows: Iterable[Any], size: int | None, seed: int) -> list[Any]:
        """``size`` different rows drawn, in their order; all when there are fewer, or without a size."""
        everything = list(rows)
        if size is not None and size < len(everything):
            chosen = sorted(Random(seed).sample(range(len(everything)), size))
            everything = [everything[index] for index in chosen]
        if size is not None:
            self.left[f"sample of {size}"] = len(everything)
        return everything


def record(name: str, source: str, conversation: Conversation) -> dict[str, Any]:
    """A training record."""
    return {"id": name, "source": source, "conversations": conversation}
