"""Recorded runs: what a model said in an episode that another system ran, and what it was answered.

Contract: a :class:`RecordedRun` is a value. :func:`read_runs` reads files of MINT's form in the order of their lines:
JSON Lines, packed with gzip or not, each line ``{"task", "task_id", "model", "success", "terminate", "reference",
"messages"}``. Every line is a run, or an error names it. Cost: one pass; a file is never held whole.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from rollout.bank.trajectory import ToolCall
from rollout.protocol.turns import Form
from sandbox.validation import format_errors

_PROMPTED = re.compile(r"^(?:\s*Assistant:)+\s*")
_CLOSED = re.compile(r"<solution>(.*?)</solution>", re.DOTALL)
_WRONG = "Your answer is wrong."
_HELP = "I don't understand your input"
_CELL = re.compile(r"<execute>\n?(.*?)</execute>", re.DOTALL)
_FENCED = re.compile(r"```python\n(.*?)```", re.DOTALL)

Said = Literal["right", "wrong"]


@dataclass(frozen=True)
class RecordedTurn:
    """One assistant turn, and the answer to it."""

    text: str
    """What the model wrote, without the ``Assistant:`` that its prompt had asked for."""
    observation: str | None
    """The next user message; None when the episode ended here."""
    proposed: str | None = None
    """The answer in closed ``<solution>`` tags, joined by newlines; None when there is none."""
    verdict: Said | None = None
    """What the recorded grader said about ``proposed``; None when it was not asked."""
    calls: tuple[ToolCall, ...] = ()
    """Native calls of the turn."""

    @property
    def code(self) -> str:
        """The cells in ``<execute>`` tags or fenced blocks, joined by newlines."""
        return "\n".join(_CELL.findall(self.text)) or "\n".join(_FENCED.findall(self.text))

    @property
    def understood(self) -> bool:
        """False when the turn was answered with the help about the format."""
        return self.observation is None or _HELP not in self.observation


@dataclass(frozen=True)
class RecordedRun:
    """One recorded episode. ``reference`` is the task's answer as the file has it: a text, a number or a list."""

    family: str
    task_id: str
    model: str
    success: bool
    ended: str
    """Why the episode ended, in the words of the file, such as ``max_steps``."""
    prompt: str
    reference: Any
    turns: tuple[RecordedTurn, ...]
    form: Form = "tags"
    """How turns were written. Of MINT's models, some were run with fenced blocks."""
    sample: int = 0
    """Number of the episode, where a model worked on a task several times."""

    @property
    def id(self) -> str:
        """Family, task, model and sample: unique in a file."""
        sample = f"/{self.sample}" if self.sample else ""
        return f"{self.family}/{self.task_id}/{self.model}{sample}"

    @property
    def proposals(self) -> list[tuple[str, Said]]:
        """Each judged proposal with its recorded verdict, in order."""
        return [(turn.proposed, turn.verdict) for turn in self.turns if turn.proposed is not None and turn.verdict]


class _Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class _Line(BaseModel):
    task: str
    task_id: str
    model: str
    success: bool
    terminate: str = ""
    reference: Any
    messages: list[_Message]


def read_runs(path: Path) -> Iterator[RecordedRun]:
    """The runs of a file.

    Raises:
        ValueError: the file does not exist or a line is not a run; the sentence names both.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _run(line, f"{path}, line {number}")
    except (OSError, EOFError) as fault:
        raise ValueError(f"tasks replay: {path} cannot be read: {fault}; give files of recorded runs") from None


def _run(raw: bytes, where: str) -> RecordedRun:
    try:
        line = _Line.model_validate_json(raw)
    except ValidationError as fault:
        raise ValueError(format_errors(f"tasks replay: {where} is not a recorded run: ", fault)) from None
    if not line.messages or line.messages[0].role != "user":
        raise ValueError(f"tasks replay: {where} is not a recorded run: messages must begin with the task (role user)")
    pairs = _pairs(line.messages[1:], ended=line.terminate != "error")
    last = len(pairs) - 1
    turns = tuple(_turn(text, reply, line.success if n == last else None) for n, (text, reply) in enumerate(pairs))
    return RecordedRun(
        family=line.task,
        task_id=line.task_id,
        model=line.model,
        success=line.success,
        ended=line.terminate,
        prompt=line.messages[0].content,
        reference=line.reference,
        turns=turns,
        form=_form(turns),
    )


def _pairs(messages: list[_Message], *, ended: bool) -> list[tuple[str, str | None]]:
    """Each assistant text with the user message after it.

    MINT does not store an empty assistant turn. Two user messages in a row, and one at the end of an episode that a
    limit ended, stand for such a turn.
    """
    pairs: list[tuple[str, str | None]] = []
    for message in messages:
        if message.role == "assistant":
            pairs.append((message.content, None))
        elif pairs and pairs[-1][1] is None:
            pairs[-1] = (pairs[-1][0], message.content)
        else:
            pairs.append(("", message.content))
    if ended and pairs and pairs[-1][1] is not None:
        pairs.append(("", None))
    return pairs


def _turn(text: str, reply: str | None, last: bool | None) -> RecordedTurn:
    """``last``: whether the episode succeeded, for its last turn."""
    bodies = _CLOSED.findall(text)
    verdict: Said | None = None
    if bodies and reply is None:
        verdict = "right" if last else "wrong"
    elif bodies and reply is not None and _WRONG in reply.partition("\nYou have ")[0]:
        verdict = "wrong"
    return RecordedTurn(
        text=_PROMPTED.sub("", text, count=1).strip(),
        observation=reply,
        proposed="\n".join(body.strip() for body in bodies) if bodies else None,
        verdict=verdict,
    )


def _form(turns: tuple[RecordedTurn, ...]) -> Form:
    """Fenced when the help says so, or when a turn with nothing but a fenced block was run."""
    for turn in turns:
        if turn.observation is None or "<solution>" in turn.text:
            continue
        if not turn.understood:
            return "fenced" if "```python" in turn.observation else "tags"
        if "<execute>" not in turn.text and _FENCED.search(turn.text):
            return "fenced"
    return "tags"
