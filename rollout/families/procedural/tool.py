"""Kind ``tool``: functions are given, and the answer needs their results combined.

What a function returns is not documented in full, so it has to be called and looked at. On half of the tasks the
first call fails: a line that is busy, or a code the service wants instead of a name. The unseen tools stand in
``unseen.py``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from rollout.families.base import Demonstration, Toolset
from rollout.families.procedural.flaky_toolset import BusyLine, described
from rollout.families.procedural.listing_service import DESKS, desk_task
from rollout.families.procedural.task_template import Draft, Wordings, act, failed, propose
from rollout.families.procedural.vocabulary import GOODS, WORDS

COUNTRIES = {"Norway": "NO", "Italy": "IT", "Peru": "PE", "Egypt": "EG", "India": "IN", "France": "FR", "Japan": "JP",
             "Spain": "ES", "Kenya": "KE", "Chile": "CL"}  # fmt: skip
CURRENCIES = ("USD", "EUR", "GBP", "NOK", "JPY", "CHF", "INR")


def make(rng: Random, group: str) -> Draft:
    """A decoder, a customs or an itinerary task; in the group ``unseen_tool`` one of the tools training never shows."""
    from rollout.families.procedural import heldout_tools

    return rng.choice(heldout_tools.TASKS if group == "unseen_tool" else TASKS)(rng, group)


class Decoder(Toolset):
    """A function that reads a code under its own name, and one that moves letters in the alphabet."""

    def __init__(self, reader: str, doc: str) -> None:
        self.reader, self.doc = reader, doc

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The reader and ``shift``."""

        def read(text: str) -> str:
            return READERS[self.reader].read(text)

        return {self.reader: described(read, self.reader, self.doc), "shift": shift}


def shift(text: str, by: int) -> str:
    """Move each letter forward in the alphabet by a number of places."""
    return "".join(chr((ord(c) - 97 + by) % 26 + 97) if c.islower() else c for c in text)


@dataclass(frozen=True)
class Reader:
    """A code: how text is written in it and read from it."""

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
"""Name of the function → code. ``from_numbers`` is for the held-out split only."""


def cipher_task(rng: Random, group: str, reader: str) -> Draft:
    """A message whose shift shows only once it is decoded: ``"3 fdvwoh"`` was moved forward by 3."""
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

    def demonstrate(errs: bool) -> Demonstration:
        if errs:  # gives it a second value
            yield act("I read it.", f'print({reader}("{coded}", 1))')
        shown = yield act("It takes one value. I read it." if errs else "I read it.", f'print({reader}("{coded}"))')
        number, shifted = shown.split()
        result = yield act("I shift it back.", f'print(shift("{shifted}", -{number}))')
        yield propose(result)

    toolset = Decoder(reader, READERS[reader].doc)
    return Draft((coded,), prompt, word, "text", demonstrate, toolset=toolset, min_cells=2)


def _decoder(rng: Random, group: str) -> Draft:
    return cipher_task(rng, group, rng.choice(("from_hex", "from_mirror")))


class Customs(BusyLine):
    """Exchange rates and tariffs."""

    names = ("exchange_rate", "tariff")

    def __init__(self, busy: bool, wants_code: bool, rate: float, percent: float, country: str) -> None:
        super().__init__(busy)
        self.wants_code, self.rate, self.percent, self.country = wants_code, rate, percent, country

    def exchange_rate(self, source: str, target: str) -> float:
        """How many units of target one unit of source buys."""
        self.dial()
        return self.rate

    def tariff(self, country: str, product: str) -> float:
        """Tariff on a product, in percent."""
        code = COUNTRIES[self.country]
        if country != (code if self.wants_code else self.country):
            wanted = code if self.wants_code else self.country
            raise ValueError(f"unknown country {country!r}, write {wanted!r}")
        return self.percent


def _customs(rng: Random, group: str) -> Draft:
    source, target = rng.sample(CURRENCIES, 2)
    country, product, amount = rng.choice(sorted(COUNTRIES)), rng.choice(GOODS), rng.randrange(50, 900, 10)
    rate, percent = rng.randint(20, 250) / 100, rng.choice((2.5, 4.0, 5.0, 7.5, 10.0, 12.5, 20.0))
    trouble = rng.choice(("", "busy", "code"))
    toolset = Customs(trouble == "busy", trouble == "code", rate, percent, country)
    prompt = Wordings(
        (
            "What does {product} worth {amount} {source} cost in {target} with the tariff of {country}? "
            "Round to 2 decimals.",
            "A trader buys {product} for {amount} {source}. Add the tariff of {country} and give the cost in {target}, "
            "rounded to 2 decimals.",
            "{country} takes a tariff on {product}. For {amount} {source} of it, what is to pay in {target}, tariff "
            "and all, to 2 decimals?",
            "Bring {amount} {source} worth of {product} into {country}: give the cost in {target} with tariff, rounded "
            "to 2 decimals.",
        ),
        ("{amount} {source} of {product} goes to {country}. Tariff included, what is it in {target}, to 2 decimals?",),
    ).pick(rng, group, product=product, amount=amount, source=source, target=target, country=country)
    look_up = 'rate = exchange_rate("{}", "{}")\nduty = tariff("{}", "{}")\nprint(rate, duty)'

    def demonstrate(errs: bool) -> Demonstration:
        if errs:  # forgets which currency comes first
            yield act("I look up both.", f'rate = exchange_rate("{source}")\nprint(rate)')
        shown = yield act("I look up both.", look_up.format(source, target, country, product))
        if "busy" in shown:
            shown = yield act("The line was busy, I call again.", look_up.format(source, target, country, product))
        elif failed(shown):
            code = ast.literal_eval(shown.strip().rsplit(" ", 1)[-1])
            shown = yield act("It wants the code.", look_up.format(source, target, code, product))
        result = yield act("Now I compute it.", f"print(round({amount} * rate * (1 + duty / 100), 2))")
        yield propose(result)

    key = (source, target, country, product, amount, rate, percent, trouble)
    answer = str(round(amount * rate * (1 + percent / 100), 2))
    return Draft(key, prompt, answer, "number", demonstrate, toolset=toolset, fails_first=bool(trouble))


def _desk(rng: Random, group: str) -> Draft:
    return desk_task(rng, group, rng.choice(DESKS))


TASKS: tuple[Callable[[Random, str], Draft], ...] = (_decoder, _customs, _desk)
