"""Tools of the tests."""

import asyncio
from enum import Enum, IntEnum
from functools import update_wrapper
from typing import Annotated, Any

from pydantic import Field


def convert(amount: float, source: str = "EUR", *, target: str = "USD") -> float:
    """Converts money.

    Knows two currencies.
    """
    if source == "XXX":
        raise KeyError("no currency XXX")
    return amount * 2


async def find(words: list[str], limit: int | None = None) -> dict[str, int]:
    """Finds words."""
    await asyncio.sleep(0)
    return {word: len(word) for word in words[:limit]}


class Unavailable(ConnectionError):
    """Known to the host only."""


class Colour(str, Enum):  # noqa: UP042  # tools may use either form
    """Equal to its text."""

    RED = "red"


class Rank(IntEnum):
    """Equal to its number."""

    FIRST = 1


class Scale:
    """A tool that is no function."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, n: "int", rank: "Rank | None" = None) -> int:
        return self.factor * n * (rank.value if rank else 1)

    async def later(self, n: "int", more: "Annotated[int, Field(ge=0)]") -> int:
        return self(n) + more


class Logged:
    """A decorator with a state."""

    def __init__(self, function: Any) -> None:
        update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)
