"""Cipher tasks: a function decodes a message into a number and a word that was shifted by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from rollout.families.base import Demonstration, Toolset
from rollout.families.procedural.flaky_toolset import documented
from rollout.families.procedural.task_template import TaskTemplate, Wordings, act, propose
from rollout.families.procedural.vocabulary import WORDS


class Decoder(Toolset):
    """A function that reads one code, and ``shift``, which moves letters in the alphabet."""

    kind = "Decoder"

    def __init__(self, reader: str, doc: str) -> None:
        self.reader, self.doc = reader, doc

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The reader and ``shift``."""

        def read(text: str) -> str:
            return READERS[self.reader].read(text)

        return {self.reader: documented(read, self.reader, self.doc), "shift": shift}


def shift(text: str, by: int) -> str:
    """Move each letter forward in the alphabet by a number of places."""
    return "".join(chr((ord(c) - 97 + by) % 26 + 97) if c.islower() else c for c in text)


@dataclass(frozen=True)
class Reader:
    """A code: ``write`` encodes text, ``read`` decodes it."""

    doc: str
    write: Callable[[str], str]
    read: Callable[[str], str]


READERS = {
    "from_hex": Reader("Turn hex digits into text.", lambda t: t.encode().hex(), lambda c: bytes.fromhex(c).decode()),
    "from_mirror": Reader("Turn mirrored text round.", lambda t: t[::-1], lambda c: c[::-1]),
    "from_numbers": Reader(
        "Turn letter numbers into text.",
        lambda t: "-".join(str(ord(c)) for c in t),
        lambda c: "".join(chr(int(n)) for n in c.split("-")),
    ),
}
"""Function name → code. ``from_numbers`` occurs only in the held-out split."""


def cipher_task(rng: Random, group: str, reader: str) -> TaskTemplate:
    """A message that has to be decoded before its shift is known: ``"3 fdvwoh"`` was moved forward by 3."""
    word, by = rng.choice(WORDS), rng.randint(1, 9)
    coded = READERS[reader].write(f"{by} {shift(word, by)}")
    prompt = Wordings(
        (
            "Decode {coded} with {reader}. It gives a number and a word that was shifted by that number. "
            "What was the word before?",
            "The code {coded} can be read with {reader}. It holds a number and a word shifted by it. Find the word.",
            "Use {reader} on {coded}. You get a number and a word whose letters moved on by it. Give the real word.",
            "{reader} turns {coded} into a number and a word; the word was shifted by the number. Which word was it?",
        ),
        ("Somebody sent {coded}. Read it with {reader}: a number, then a word moved forward by it. Undo that.",),
    ).pick(rng, group, coded=coded, reader=reader)

    def demonstrate(make_mistake: bool) -> Demonstration:
        if make_mistake:  # gives it a second value
            yield act("I read it.", f'print({reader}("{coded}", 1))')
        shown = yield act(
            "It takes one value. I read it." if make_mistake else "I read it.", f'print({reader}("{coded}"))'
        )
        number, shifted = shown.split()
        result = yield act("I shift it back.", f'print(shift("{shifted}", -{number}))')
        yield propose(result)

    toolset = Decoder(reader, READERS[reader].doc)
    return TaskTemplate((coded,), prompt, word, "text", demonstrate, toolset=toolset, min_cells=2)
