"""A training record: one conversation to train on, or the reason why an item of a file is none.

Contract: plain values. ``docs/reference/files.md`` defines the form of a record on disk; ``parse`` makes records of the
other forms that people have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
    id_from_content: bool = False
    """The file gives no id, and this one is a digest of the conversation. Such records need not differ."""
    reasoning_left_out: bool = False
    """The file gives reasoning beside a turn's content, and it is not part of the conversation."""

    def line(self) -> str:
        """The record as a line of a file of records, without optional keys that have no value."""
        kept = {"id", "source", "group", "conversations"}
        return self.model_dump_json(include=kept, exclude_none=True) + "\n"


Reason = Literal["incomplete_line", "not_json", "bad_record", "tool_calls", "empty_reply", "mask_key"]


@dataclass(frozen=True)
class Unreadable:
    """An item of a file that is not a record, with the reason; ``id`` where the item has one and a conversation."""

    reason: Reason
    detail: str
    id: str | None = None
