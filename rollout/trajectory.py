"""The record of one episode, as it stands in the bank.

Contract: a :class:`Trajectory` is complete and immutable; everything needed to select it, train on it, replay it or
doubt it is inside. ``docs/files.md`` holds the form for readers who do not use Python. Nothing here runs anything.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant"]
MessageKind = Literal["instruction", "task", "action", "observation", "proposal", "feedback", "invalid"]
Reason = Literal["solved", "wrong_answer", "max_steps", "max_invalid", "context_full", "deadline", "error"]
ErrorKind = Literal["infra", "sandbox", "model", "task"]


class StoredModel(BaseModel):
    """Base of everything stored: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CellOutcome(StoredModel):
    """What running one cell came to, without its output (that is the message's content)."""

    status: str
    error_name: str | None = None
    seconds: float = 0.0


class Message(StoredModel):
    """One turn. ``token_ids`` and ``logprobs`` are the engine's own, never re-tokenised text."""

    role: Role
    kind: MessageKind
    content: str
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    cell: CellOutcome | None = None


class TaskRef(StoredModel):
    """Which task was worked on; ``digest`` changes when its prompt, data, tools or answer change."""

    family: str
    kind: str
    split: str
    group: str
    id: str
    digest: str


class Sampling(StoredModel):
    """How completions are drawn. Temperature 0 is greedy."""

    temperature: float = Field(0.0, ge=0.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    max_tokens: int = Field(160, gt=0)
    stop: tuple[str, ...] = ()
    seed: int = 0


class ProtocolRef(StoredModel):
    """Name and content digest of the protocol the episode followed."""

    name: str
    digest: str


class EpisodeError(StoredModel):
    """Why an episode could not run to an outcome. Only ``infra`` is worth a retry."""

    kind: ErrorKind
    message: str


class Outcome(StoredModel):
    """How the episode ended."""

    success: bool
    reward: float
    reason: Reason
    error: EpisodeError | None = None


class Usage(StoredModel):
    """What the episode took."""

    steps: int = 0
    cells: int = 0
    error_cells: int = 0
    proposals: int = 0
    invalid: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Trajectory(StoredModel):
    """The finished record of an episode."""

    id: str
    task: TaskRef
    model: str
    sampling: Sampling
    protocol: ProtocolRef
    messages: tuple[Message, ...]
    outcome: Outcome
    usage: Usage
    isolation: str
    seed: int
    started_at: str
    wall_s: float


def digest_of(value: Any, length: int = 16) -> str:
    """Short SHA-256 of a JSON-serialisable value; stable over processes and key order."""
    blob = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(blob.encode()).hexdigest()[:length]


def trajectory_id(task: TaskRef, model: str, sampling: Sampling, protocol: ProtocolRef, seed: int) -> str:
    """Identity of a piece of work: what is already in the bank is never run again."""
    return digest_of([task.model_dump(), model, sampling.model_dump(), protocol.model_dump(), seed])
