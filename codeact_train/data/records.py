"""Training records from JSON Lines, one at a time; each line is either parsed or reported as unreadable.

Contract: every non-blank line of a file yields exactly one :class:`Record` or one :class:`Unreadable`. Files whose name
ends in ``.gz`` are decompressed while reading. Cost: one line in memory. ``docs/reference/files.md`` defines the format
of a record. The module does not tokenise and does not compare records.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class RecordTurn(BaseModel):
    """One message of a record; ``weight`` multiplies the weight of its role, 1 when absent or ``null``."""

    model_config = ConfigDict(frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str
    weight: float | None = Field(None, ge=0.0, allow_inf_nan=False)


class Record(BaseModel):
    """One conversation to train on. Other keys are ignored."""

    model_config = ConfigDict(frozen=True)

    id: str
    conversations: tuple[RecordTurn, ...] = Field(min_length=1)
    source: str | None = None
    group: str | None = None
    """Records of one group, such as runs of one task, are held out together; by default each record is a group."""


@dataclass(frozen=True)
class Unreadable:
    """A line that is not a record, with the reason."""

    reason: Literal["incomplete_line", "not_json", "bad_record"]
    detail: str


def read_lines(path: Path, progress: Callable[[int], None] = lambda _: None) -> Iterator[tuple[int, bytes]]:
    """Yield ``(line number, line)`` for each non-blank line; ``progress`` receives the number of file bytes read.

    Raises ``ValueError`` when a compressed file is damaged.
    """
    with path.open("rb") as file:
        lines = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
        reported = 0
        try:
            for number, raw in enumerate(lines, start=1):
                if number % 1024 == 0:
                    progress(file.tell() - reported)
                    reported = file.tell()
                if not raw.isspace():
                    yield number, raw
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: cannot be decompressed ({error}); fetch or write it again") from error
        progress(file.tell() - reported)


def parse(raw: bytes) -> Record | Unreadable:
    """The record of a line, or why it is unreadable."""
    try:
        return Record.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid" and not raw.endswith(b"\n"):
            return Unreadable("incomplete_line", "the last line is incomplete: its writer was interrupted")
        if first["type"] == "json_invalid":
            return Unreadable("not_json", first["msg"])
        where = ".".join(map(str, first["loc"])) or "record"
        return Unreadable("bad_record", f"{where}: {first['msg']}")
