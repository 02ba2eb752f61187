"""Worked examples of protocols: one a task family, one a kind of ALFWorld, as YAML files in ``examples/``.

Those of the paper's families are in the folder itself: ``example: true`` shows them, and their digest is part of the
digest of the paper's protocol. Those of families that this project made are in ``examples/built_in/``;
``example: every`` shows both.

Contract: an :class:`Example` is a task with the turns that solve it. A turn has a thought and either a cell with the
observation that it gives, or an answer with its verdict. :meth:`Example.render` writes it in the form of a protocol.
Every example can be run without a model (:mod:`rollout.checks.validate.examples`); this module runs nothing. An example
says which functions it needs: ``pages`` is what its ``search`` finds, ``house`` the household that its functions move
in.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from rollout.bank.trajectory import digest_of
from rollout.protocol.turns import Form

EXAMPLES = Path(__file__).with_name("examples")


class Replies(Protocol):
    """The fixed replies of a protocol."""

    @property
    def wrong_feedback(self) -> str:
        """Reply to a wrong answer."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExampleTurn(_Part):
    """A turn, and the reply to it."""

    thought: str
    code: str | None = None
    observation: str | None = None
    answer: str | None = None
    verdict: Literal["right", "wrong"] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> ExampleTurn:
        if (self.code is None) == (self.answer is None):
            raise ValueError("a turn has either code or an answer")
        if (self.answer is None) != (self.verdict is None):
            raise ValueError("an answer has a verdict, and code has none")
        return self


class Example(_Part):
    """One worked example."""

    name: str
    families: tuple[str, ...]
    kinds: tuple[str, ...] | None = None
    """Kinds of tasks that it is for; None: all."""
    task: str
    grader: str
    reference: str
    setup: str = ""
    """Code that runs in the kernel first, as that of a task."""
    pages: dict[str, str] | None = None
    """Title → text of what ``search`` finds."""
    house: dict[str, Any] | None = None
    """A household: places, what is in them, and the goal."""
    turns: tuple[ExampleTurn, ...]

    def render(self, form: Form, thought_tags: bool, replies: Replies) -> str:
        """The example as text, the task first."""
        parts = [f"Task:\n{self.task.strip()}"]
        for turn in self.turns:
            thought = turn.thought.strip()
            said = f"<thought>\n{thought}\n</thought>" if thought_tags else thought
            parts.append(f"Assistant:\n{said}\n{_act(turn, form)}")
            if turn.observation is not None:
                parts.append(f"Observation:\n{turn.observation.strip()}")
            elif turn.verdict == "wrong":
                parts.append(replies.wrong_feedback)
        return "\n\n".join(parts)


def _act(turn: ExampleTurn, form: Form) -> str:
    if turn.code is None:
        assert turn.answer is not None
        answers = dict.fromkeys(("chat", "tools", "answer", "final"), "{}")
        written = answers.get(form, "Answer: {}" if form.startswith("action") else "<solution>\n{}\n</solution>")
        return written.format(turn.answer.strip())
    code = turn.code.strip("\n")
    if form == "fenced":
        return f"```python\n{code}\n```"
    if form == "action_code":
        return f"Action:\n```python\n{code}\n```\nEnd Action"
    return f"<execute>\n{code}\n</execute>"


def read_examples(every: bool = True) -> tuple[Example, ...]:
    """The shipped examples, by name: those of the paper's families, and with ``every`` those of the others."""
    return (*_read(EXAMPLES), *(_read(EXAMPLES / "built_in") if every else ()))


@cache
def _read(folder: Path) -> tuple[Example, ...]:
    return tuple(
        Example.model_validate({"name": path.stem, **yaml.safe_load(path.read_text(encoding="utf-8"))})
        for path in sorted(folder.glob("*.yaml"))
    )


def find_example(family: str, kind: str, every: bool = False) -> Example | None:
    """The example for tasks of a kind, or None; with ``every`` also those of families that this project made."""
    fitting = [example for example in read_examples(every) if family in example.families]
    return next((example for example in fitting if example.kinds is None or kind in example.kinds), None)


@cache
def examples_digest(every: bool = False) -> str:
    """Digest of the examples, part of the digest of the protocols that show them."""
    return digest_of([example.model_dump() for example in read_examples(every)])
