"""The rows of a dialogue: what a user and an assistant say, and the calls with their results.

Contract: :func:`read_dialogue` makes values of the lines of a file. The inputs of a call are typed, as its result has
them; the data set also writes each as a text, which is used nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Speaker = Literal["User", "AI", "API"]


@dataclass(frozen=True)
class Call:
    """A recorded call."""

    name: str
    input: Mapping[str, Any]
    output: Any
    exception: str | None = None

    def as_record(self) -> dict[str, Any]:
        """In the form that calls of an episode are kept in."""
        return {
            "api_name": self.name,
            "input": dict(self.input),
            "output": self.output,
            "exception": self.exception,
        }


@dataclass(frozen=True)
class Turn:
    """A row of a dialogue: a text, or a call."""

    speaker: Speaker
    text: str = ""
    call: Call | None = None

    def as_row(self) -> list[Any]:
        """As JSON."""
        return [self.speaker, self.text, self.call.as_record() if self.call else None]


@dataclass(frozen=True)
class Dialogue:
    """One file of the data set."""

    name: str
    turns: tuple[Turn, ...]

    def calls(self) -> Iterator[tuple[int, Call]]:
        """Number of the row, from 0, and call."""
        for number, turn in enumerate(self.turns):
            if turn.call is not None:
                yield number, turn.call

    def doubled(self, number: int) -> bool:
        """Whether the reference scores the call of a row twice: it follows a call without a text between them."""
        return number > 0 and self.turns[number - 1].call is not None


def read_dialogue(name: str, text: str) -> Dialogue:
    """The dialogue of a file.

    Raises:
        ValueError: a line is no row of a dialogue.
    """
    turns = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                turns.append(_turn(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as fault:
                raise ValueError(f"{name}:{number}: no row of a dialogue of API-Bank: {fault!r}") from None
    return Dialogue(name, tuple(turns))


def _turn(row: Mapping[str, Any]) -> Turn:
    speaker = row["role"]
    if speaker not in ("User", "AI", "API"):
        raise ValueError(f"the role {speaker!r}")
    if speaker != "API":
        return Turn(speaker, row["text"].strip())
    result = row["result"]
    return Turn("API", call=Call(row["api_name"], result["input"] or {}, result["output"], result["exception"]))
