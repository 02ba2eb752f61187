"""A cheating agent: scripted turns, what they try, and why the episode must not be solved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from rollout import Demonstration

Places = Mapping[str, str]
"""Where the host keeps the answer: ``folder``, ``bank``, ``data``, ``repository``, ``variable``, ``port``, ``unix``,
``abstract``, ``pid`` (:mod:`eval.forging.fixtures`)."""
Play = Callable[[Places], Demonstration]
"""Yields turns and is sent the observation after each. It is played again from its start for each turn."""
Group = Literal["answer", "kernel", "host", "tools", "code", "state", "judge", "ending"]
KEY = re.compile("KEY-[0-9a-f]{16}")
"""The form of the answer of the task ``key``, for agents that look for it."""


@dataclass(frozen=True)
class Agent:
    """One agent of the battery.

    Attributes:
        name: what it does in a few words, its name in the table.
        group: where it attacks.
        task: name of a task of :mod:`eval.forging.tasks`.
        tries: how it means to be paid for nothing.
        stopped_by: why it must fail.
        play: its turns.
        form: how its turns are read (:mod:`rollout.protocol`).
        slow: it takes a second or more, mostly to reach a time limit.
    """

    name: str
    group: Group
    task: str
    tries: str
    stopped_by: str
    play: Play
    form: Literal["tags", "chat", "action_json", "answer"] = "tags"
    slow: bool = False


def cell(code: str) -> str:
    """A turn that runs code."""
    return f"<execute>\n{code.strip()}\n</execute>"


def answer(text: str) -> str:
    """A turn that proposes an answer."""
    return f"<solution>{text}</solution>"


def says(*turns: str) -> Play:
    """Says these turns and reads nothing."""

    def play(places: Places) -> Demonstration:
        for turn in turns:  # noqa: UP028  # a tuple takes no observations
            yield turn

    return play


def answers(*texts: str) -> Play:
    """Proposes one text after another."""
    return says(*map(answer, texts))


def looks_for_the_key(code: str) -> Play:
    """Runs code that prints what it finds, and proposes the first key among it."""

    def play(places: Places) -> Demonstration:
        found = KEY.findall((yield cell(filled(code, places))))
        yield answer(found[0] if found else "I found no key")

    return play


def filled(code: str, places: Places) -> str:
    """Code with ``{folder}`` and the like filled in."""
    for name, place in places.items():
        code = code.replace(f"{{{name}}}", place)
    return code
