"""Training records from JSON Lines, one at a time, each either read or named as unreadable.

Contract: every line of the file yields exactly one :class:`Record` or one :class:`Unreadable`; a last line without its
newline was being written when its writer stopped and is unreadable. Cost: one line in memory. The form of a record
is in ``docs/files.md``. It knows nothing of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class RecordTurn(BaseModel):
    """One message of a record; ``weight`` is for assistant turns."""

    model_config = ConfigDict(frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str
    weight: float = Field(1.0, ge=0.0)


class Record(BaseModel):
    """One conversation to train on. Keys beyond these are left alone: other readers may have use for them."""

    model_config = ConfigDict(frozen=True)

    id: str
    conversations: tuple[RecordTurn, ...] = Field(min_length=1)
    source: str = "unknown"

    @model_validator(mode="after")
    def _weights_on_assistant(self) -> Record:
        for number, turn in enumerate(self.conversations):
            if turn.role != "assistant" and "weight" in turn.model_fields_set:
                raise ValueError(f"turn {number} is a {turn.role} turn with a weight; only assistant turns are trained")
        return self


@dataclass(frozen=True)
class Unreadable:
    """A line that is no record: where it stands (1-based), what is wrong with it, its id if that could be read."""

    line: int
    reason: Literal["incomplete_line", "not_json", "bad_record", "duplicate_id"]
    detail: str
    id: str | None = None


def read_records(path: Path) -> Iterator[tuple[int, Record | Unreadable]]:
    """Yield ``(line number, record or its defect)`` for each line; blank lines are skipped."""
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if raw.isspace():
                continue
            item = _parse(number, raw)
            if isinstance(item, Record):
                if item.id in seen:
                    item = Unreadable(number, "duplicate_id", "an earlier line has this id", item.id)
                else:
                    seen.add(item.id)
            yield number, item


def _parse(number: int, raw: bytes) -> Record | Unreadable:
    if not raw.endswith(b"\n"):
        return Unreadable(number, "incomplete_line", "the last line has no newline: its writer was interrupted")
    try:
        return Record.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return Unreadable(number, "not_json", first["msg"])
        where = ".".join(map(str, first["loc"])) or "record"
        return Unreadable(number, "bad_record", f"{where}: {first['msg']}")
