"""The record of one episode, as stored in the bank.

Contract: a :class:`Trajectory` is complete and immutable: it holds everything needed to select it, train on it, replay
it or check it. ``docs/reference/files.md`` documents the JSON form. This module runs nothing.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

Role = Literal["system", "user", "assistant"]
MessageKind = Literal["instruction", "task", "action", "observation", "proposal", "feedback", "invalid"]
Reason = Literal["solved", "wrong_answer", "failed", "max_steps", "max_invalid", "context_full", "deadline", "error"]
"""Why an episode ended; ``failed`` is for environments that end one without an answer, such as games."""
ErrorKind = Literal["infra", "model", "task"]
"""Who failed. A sandbox that cannot run a kernel is ``infra``: another attempt can help."""


def well_formed(value: Any) -> Any:
    """A text that can be stored: a surrogate without its partner becomes U+FFFD. Other values are returned as they are.

    Models, tools and cells can make such texts (JSON can spell them, UTF-8 cannot).
    """
    if not isinstance(value, str):
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


class _WellFormed:
    """Makes texts of Python well formed. Those of JSON are: its parser refuses half a surrogate pair."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = handler(source)
        made = core_schema.no_info_before_validator_function(well_formed, text)
        return core_schema.json_or_python_schema(json_schema=text, python_schema=made)


Text = Annotated[str, _WellFormed()]
"""Free text of a model, a cell or a server."""


class StoredModel(BaseModel):
    """Base of everything stored: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CellOutcome(StoredModel):
    """How a cell ended, without its output (the content of the message)."""

    status: str
    error_name: Text | None = None
    seconds: FiniteFloat = 0.0
    tool_calls: int = Field(0, exclude_if=lambda value: value == 0)
    """Calls of the task's functions."""


class ToolCall(StoredModel):
    """A call of a function, written as JSON or by a server's own means."""

    id: str
    """The server's id of a native call; empty otherwise."""
    name: Text
    arguments: Text
    """JSON: an object by name, or a list in the order of the parameters."""


class Message(StoredModel):
    """One turn. ``token_ids`` and ``logprobs`` are those that the engine sampled, never re-tokenised text."""

    role: Role
    kind: MessageKind
    content: Text
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[FiniteFloat, ...] | None = None
    cell: CellOutcome | None = None
    reasoning: Text | None = Field(None, exclude_if=lambda value: value is None)
    """Thinking that the server returned beside the content. It is not sent back and, by default, not trained."""
    tool_calls: tuple[ToolCall, ...] | None = Field(None, exclude_if=lambda value: value is None)
    """Native calls of an assistant turn."""
    tool_results: tuple[Text, ...] | None = Field(None, exclude_if=lambda value: value is None)
    """Results of the native calls of the turn before, in their order; the content joins them."""
    choices: dict[str, FiniteFloat | None] | None = Field(None, exclude_if=lambda value: value is None)
    """The texts that an assistant turn was chosen from, each with its log-probability; null for one of which the server
    gave none."""


class TaskRef(StoredModel):
    """Identity of a task; ``digest`` changes when its prompt, data, tools or answer change."""

    family: str
    kind: str
    split: str
    group: str
    id: str
    digest: str


class Sampling(StoredModel):
    """How completions are drawn. Temperature 0 is greedy."""

    temperature: float = Field(0.0, ge=0.0)
    """Divisor of the logits; 0 takes the likeliest token."""
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    """Draw from the likeliest tokens that together have this probability."""
    max_tokens: int = Field(160, gt=0)
    """Longest completion, in tokens."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion."""
    seed: int = 0
    """Seed of the draws."""


class ProtocolRef(StoredModel):
    """Name and content digest of the protocol the episode followed."""

    name: str
    digest: str


class EpisodeError(StoredModel):
    """Why an episode failed before an outcome. Only ``infra`` is retried."""

    kind: ErrorKind
    message: Text
    refused: bool = Field(False, exclude=True)
    """The engine refuses every request of this configuration. Not stored: such an episode is run again."""


class Outcome(StoredModel):
    """How the episode ended. ``reward`` may be any number; the built-in graders give 0 or 1."""

    success: bool
    reward: FiniteFloat
    reason: Reason
    error: EpisodeError | None = None


class Usage(StoredModel):
    """Counts of turns, cells, proposals and tokens in an episode."""

    steps: int = 0
    cells: int = 0
    error_cells: int = 0
    proposals: int = 0
    invalid: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = Field(0, exclude_if=lambda value: value == 0)
    """Prompt tokens that the server took from its cache; 0 when it does not say."""
    tool_calls: int = Field(0, exclude_if=lambda value: value == 0)
    """Calls of the task's functions, by cells or directly."""


class JudgeUsage(StoredModel):
    """What the judge of an episode used: the engine that grades by a rubric or gives simulated feedback."""

    model: str = ""
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class GivenVerdict(StoredModel):
    """What the grader said of one proposed answer."""

    kind: Literal["right", "wrong", "none"]
    reason: Text = ""
    reward: FiniteFloat = 0.0
    legacy: Literal["right", "wrong", "none"] | None = Field(None, exclude_if=lambda value: value is None)
    """The verdict of the reference system's rule, when it was asked for."""
    proposed: Text | None = Field(None, exclude_if=lambda value: value is None)
    """What was graded, when it is not the text between the tags of an answer."""


class Grading(StoredModel):
    """How an episode was graded: enough to grade it again without its family."""

    grader: str
    reference: Text | None = None
    """The task's answer; null when it is longer than 64 KiB."""
    verdicts: tuple[GivenVerdict, ...] = ()
    """One for each proposed answer, in their order."""


class Branch(StoredModel):
    """Where an episode left another one, its parent."""

    parent: str
    """Id of the parent's trajectory."""
    turn: int
    """Index of the first message that is the branch's own; those before it are the parent's."""


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
    wall_s: FiniteFloat
    branch: Branch | None = Field(None, exclude_if=lambda value: value is None)
    """The parent of an episode that continues another one. Its usage counts turns and cells from the start of the
    conversation, as the protocol's limits do, and only the tokens that the branch itself used."""
    judge: JudgeUsage | None = Field(None, exclude_if=lambda value: value is None)
    """What the judge used, apart from ``usage``."""
    grading: Grading | None = Field(None, exclude_if=lambda value: value is None)
    """Grader, reference and verdicts of an episode in which an answer was proposed."""

    @property
    def lost(self) -> bool:
        """Whether the infrastructure failed. The episode says nothing about the model and is run again."""
        return self.outcome.error is not None and self.outcome.error.kind == "infra"


def digest_of(value: Any, length: int = 16) -> str:
    """First ``length`` hex digits of the SHA-256 of a JSON-serialisable value, independent of key order."""
    return hashlib.sha256(_ENCODER.encode(value).encode(errors="surrogatepass")).hexdigest()[:length]


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def trajectory_id(
    task: TaskRef,
    model: str,
    sampling: Sampling,
    protocol: ProtocolRef,
    seed: int,
    *,
    judge: str | None = None,
    branch: Branch | None = None,
) -> str:
    """Id of an episode, known before it runs: an id that is in the bank is not run again.

    Args:
        judge: name of the engine that may judge the episode.
        branch: where the episode leaves its parent.
    """
    identity: list[Any] = [task.model_dump(), model, sampling.model_dump(), protocol.model_dump(), seed]
    if judge is not None:
        identity.append({"judge": judge})
    if branch is not None:
        identity.append({"branch": branch.model_dump()})
    return digest_of(identity)
