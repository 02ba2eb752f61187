"""Chooses the conversations that the report shows, and cuts them into readable turns.

Contract: a fixed rule chooses: one newly solved task of each trained kind (with a recovered error if there is one), one
of each unseen group, and two that the best epoch fails, first those that the base model solved. Base and best epoch are
shown side by side on the same task. Text is cut only at ``MESSAGE_CHARS``, with a note. Text that a model wrote is
returned as plain text or escaped markup; the template escapes the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from eval.report.success import Suite, having
from eval.results import EpisodeResult
from eval.scores import Belongs
from rollout import Message, Trajectory

MESSAGE_CHARS = 4000
FAILURES = 2
_TAGGED = re.compile(r"<(execute|solution)>\n?(.*?)\n?(?:</\1>|\Z)", re.DOTALL)
_LABELS = {"observation": "Output", "feedback": "Feedback", "invalid": "Model", "action": "Model", "proposal": "Model"}


@dataclass(frozen=True)
class Segment:
    """A stretch of a turn: prose, code (already highlighted and escaped) or an answer."""

    kind: Literal["prose", "code", "solution"]
    text: str | Markup


@dataclass(frozen=True)
class Turn:
    """One message; ``css`` names its author."""

    label: str
    css: str
    segments: list[Segment]
    note: str


@dataclass(frozen=True)
class Side:
    """One checkpoint's attempt at a task."""

    checkpoint: str
    record: Trajectory
    turns: list[Turn]


@dataclass(frozen=True)
class Comparison:
    """One task, attempted by one or two checkpoints."""

    task_id: str
    kind: str
    group: str
    prompt: str
    change: Literal["gained", "lost", "both", "neither", "solved", "failed"]
    sides: list[Side]


def comparisons(suite: Suite, bank: dict[str, Trajectory]) -> list[Comparison]:
    """The tasks that the rule above chooses, among those whose transcripts are in the bank."""
    asked = [result for result in (suite.base, suite.best) if result is not None]
    names = [result.checkpoint.name for result in asked]
    episodes = [{one.task_id: one for one in reversed(result.episodes)} for result in asked]  # the first of a task
    attempts = [[by_task[task] for by_task in episodes] for task in sorted(set.intersection(*map(set, episodes)))]
    tasks = [tried for tried in attempts if all(one.trajectory_id in bank for one in tried)]
    return [_comparison(names, attempts, bank) for attempts in _chosen(tasks)]


def _chosen(tasks: list[list[EpisodeResult]]) -> list[list[EpisodeResult]]:
    """Applies the rule of this module; ``tasks`` holds the attempts at each task, the best checkpoint last."""
    most_informative = sorted(tasks, key=lambda t: (t[0].success, not t[-1].recovered, -t[-1].cells, t[-1].task_id))
    chosen: list[list[EpisodeResult]] = []

    def choose(candidates: Iterable[list[EpisodeResult]], belongs: Belongs) -> None:
        found = next((t for t in candidates if t not in chosen and belongs(t[-1])), None)
        if found:
            chosen.append(found)

    for kind in sorted({t[-1].kind for t in tasks}):
        choose(most_informative, having(success=True, kind=kind, group="trained"))
    for group in ("unseen_wording", "unseen_tool"):
        choose(most_informative, having(success=True, group=group))
    for _ in range(FAILURES):
        choose(sorted(tasks, key=lambda t: (not t[0].success, -t[-1].cells, t[-1].task_id)), having(success=False))
    return chosen


def _comparison(names: list[str], attempts: list[EpisodeResult], bank: dict[str, Trajectory]) -> Comparison:
    records = [bank[attempt.trajectory_id] for attempt in attempts]
    outcomes = [attempt.success for attempt in attempts]
    prompt = next((m.content for m in records[0].messages if m.kind == "task"), "")
    return Comparison(
        task_id=attempts[0].task_id,
        kind=attempts[0].kind,
        group=attempts[0].group,
        prompt=_shortened(prompt),
        change=_change(outcomes),
        sides=[Side(name, record, _turns(record.messages)) for name, record in zip(names, records, strict=True)],
    )


def _change(outcomes: list[bool]) -> Literal["gained", "lost", "both", "neither", "solved", "failed"]:
    if len(outcomes) == 1:
        return "solved" if outcomes[0] else "failed"
    before, after = outcomes
    if before == after:
        return "both" if after else "neither"
    return "gained" if after else "lost"


def _turns(messages: Iterable[Message]) -> list[Turn]:
    """Every message after the instruction and the task (these are shown once for both sides)."""
    return [_turn(message) for message in messages if message.kind not in ("instruction", "task")]


def _turn(message: Message) -> Turn:
    content = _shortened(message.content)
    cell = message.cell
    note = ""
    if cell:
        note = (
            f"{cell.error_name or cell.status.replace('_', ' ')} · {cell.seconds:.2f} s" if cell.status != "ok" else ""
        )
    css = "error" if cell and cell.status != "ok" else message.kind
    segments = _segments(content) if message.role == "assistant" else [Segment("prose", content)]
    return Turn(_LABELS.get(message.kind, message.kind.title()), css, segments, note)


def _segments(text: str) -> list[Segment]:
    """Prose, code and answers of an assistant turn, in order; an open tag extends to the end."""
    out, end = [], 0
    for match in _TAGGED.finditer(text):
        out.append(Segment("prose", text[end : match.start()].strip()))
        code = match[1] == "execute"
        out.append(Segment("code", highlighted(match[2])) if code else Segment("solution", match[2].strip()))
        end = match.end()
    out.append(Segment("prose", text[end:].strip()))
    return [segment for segment in out if segment.text]


def highlighted(code: str) -> Markup:
    """Python as escaped HTML with Pygments' short class names."""
    return Markup(highlight(code, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).rstrip("\n"))


def _shortened(text: str) -> str:
    if len(text) <= MESSAGE_CHARS:
        return text
    return f"{text[:MESSAGE_CHARS]}\n[{len(text) - MESSAGE_CHARS} more characters are in the bank]"
