"""Kind ``tool``: functions are given, and the answer needs their results combined.

What a function returns is not documented in full, so it has to be called and looked at. On half of the tasks the
first call fails: a line that is busy, or a code the service wants instead of a name. The unseen tools stand in
``unseen.py``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from random import Random

from rollout.tasks.base import Demonstration, Toolset
from rollout.tasks.procedural.draft import Draft, Wordings, act, failed, propose
from rollout.tasks.procedural.vocabulary import GOODS, TOWNS, WORDS

COUNTRIES = {"Norway": "NO", "Italy": "IT", "Peru": "PE", "Egypt": "EG", "India": "IN", "France": "FR", "Japan": "JP",
             "Spain": "ES", "Kenya": "KE", "Chile": "CL"}  # fmt: skip
CURRENCIES = ("USD", "EUR", "GBP", "NOK", "JPY", "CHF", "INR")


def make(rng: Random, group: str) -> Draft:
    """A decoder, a customs or an itinerary task; in the group ``unseen_tool`` one of the tools training never shows."""
    from rollout.tasks.procedural import unseen

    return rng.choice(unseen.TASKS if group == "unseen_tool" else TASKS)(rng, group)


class BusyLine(Toolset):
    """A toolset whose first call may find the line busy."""

    def __init__(self, busy: bool) -> None:
        self.busy = busy

    def dial(self) -> None:
        """Raises ConnectionError once, when the line is busy."""
        if self.busy:
            self.busy = False
            raise ConnectionError("the line is busy, call again")


class Decoder(Toolset):
    """Functions that undo a cipher."""

    names = ("from_hex", "shift")

    def from_hex(self, text: str) -> str:
        """Turn hex digits into text."""
        return bytes.fromhex(text).decode()

    def shift(self, text: str, by: int) -> str:
        """Move each letter forward in the alphabet by a number of places."""
        return "".join(chr((ord(c) - 97 + by) % 26 + 97) if c.islower() else c for c in text)


def cipher_task(rng: Random, group: str, toolset: Toolset, reader: str, encode: Callable[[str], str]) -> Draft:
    """A message whose shift shows only once it is decoded: ``"3 fdvwoh"`` was moved forward by 3."""
    word, by = rng.choice(WORDS), rng.randint(1, 9)
    coded = encode(f"{by} {Decoder().shift(word, by)}")
    prompt = Wordings(
        (
            "Decode {coded} with {reader}. It gives a number and a word that was shifted by that number. "
            "What was the word before?",
            "The code {coded} can be read with {reader}. It holds a number and a word shifted by it. Find the word.",
        ),
        ("Somebody sent {coded}. Read it with {reader}: a number, then a word moved forward by it. Undo that.",),
    ).pick(rng, group, coded=coded, reader=reader)

    def demonstrate(errs: bool) -> Demonstration:
        if errs:  # takes the text for the hex digits' bytes
            yield act("I read it.", f'print({reader}("{coded}".decode()))')
        shown = yield act("I read it.", f'print({reader}("{coded}"))')
        number, shifted = shown.split()
        result = yield act("I shift it back.", f'print(shift("{shifted}", -{number}))')
        yield propose(result)

    return Draft((coded,), prompt, word, "text", demonstrate, toolset=toolset, min_cells=2)


def _decoder(rng: Random, group: str) -> Draft:
    return cipher_task(rng, group, Decoder(), "from_hex", lambda text: text.encode().hex())


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
        ),
        (
            "{amount} {source} of {product} goes to {country}. Tariff included, what is it in {target}, to 2 decimals?",
        ),
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


class Trips(BusyLine):
    """A travel agency."""

    names = ("find_trips", "book")

    def __init__(self, busy: bool, trips: list[dict[str, object]], tickets: dict[str, str]) -> None:
        super().__init__(busy)
        self.trips, self.tickets = trips, tickets

    def find_trips(self, origin: str, destination: str) -> list:
        """List the trips between two towns."""
        self.dial()
        return self.trips

    def book(self, trip: str) -> str:
        """Book a trip and get its ticket."""
        if trip not in self.tickets:
            raise KeyError(f"no trip {trip!r}")
        return self.tickets[trip]


def offers(rng: Random, price: str, quality: str, name: str, worst: int, best: int) -> list[dict[str, object]]:
    """Three or four offers with different prices."""
    count = rng.randint(3, 4)
    codes = rng.sample([f"{letter}{digit}" for letter in "ABCDEFGHKLMNPRST" for digit in range(1, 10)], count)
    prices = rng.sample(range(20, 99), count)
    return [{name: c, price: p, quality: rng.randint(worst, best)} for c, p in zip(codes, prices, strict=True)]


def choose_and_book(find: str, book: str, least: bool, limit: int) -> Callable[[bool], Demonstration]:
    """The expert's way through any "cheapest offer that …, then book it" task: look, choose by the keys seen, book."""

    def demonstrate(errs: bool) -> Demonstration:
        if errs:  # asks for a list that was never made
            yield act("I look at the offers.", "print(offers)")
        look = f"offers = {find}\nprint(offers)"
        shown = yield act("I look at the offers.", look)
        if failed(shown):
            shown = yield act("The line was busy, I call again.", look)
        name, price, quality = ast.literal_eval(shown.strip())[0]
        good = f'[o for o in offers if o["{quality}"] {">=" if least else "<="} {limit}]'
        code = f'good = {good}\nbest = min(good, key=lambda o: o["{price}"])\nprint({book}(best["{name}"]))'
        result = yield act("I book the cheapest that fits.", code)
        yield propose(result)

    return demonstrate


def _trips(rng: Random, group: str) -> Draft:
    origin, destination = rng.sample(TOWNS, 2)
    name, price = rng.choice(("id", "trip", "code")), rng.choice(("price", "fare", "cost"))
    least = rng.random() < 0.5
    quality, worst, best = ("seats", 1, 9) if least else ("hours", 2, 12)
    trips = offers(rng, price, quality, name, worst, best)
    limit = rng.choice([int(str(trip[quality])) for trip in trips])
    busy = rng.random() < 0.5
    tickets = {str(trip[name]): f"T{rng.randint(1000, 9999)}" for trip in trips}
    fitting = [t for t in trips if (t[quality] >= limit if least else t[quality] <= limit)]  # type: ignore[operator]
    chosen = min(fitting, key=lambda trip: trip[price])  # type: ignore[arg-type,return-value]
    demand = f"with at least {limit} seats" if least else f"of at most {limit} hours"
    prompt = Wordings(
        (
            "Book the cheapest trip from {origin} to {destination} {demand}. What is the ticket?",
            "Find the cheapest trip from {origin} to {destination} {demand}, book it and give the ticket.",
        ),
        ("I must get from {origin} to {destination}: cheapest trip {demand}, please. Which ticket do I hold then?",),
    ).pick(rng, group, origin=origin, destination=destination, demand=demand)
    return Draft(
        key=(origin, destination, str(trips), limit, least, busy),
        prompt=prompt,
        answer=tickets[str(chosen[name])],
        grader="text",
        expert=choose_and_book(f'find_trips("{origin}", "{destination}")', "book", least, limit),
        toolset=Trips(busy, trips, tickets),
        min_cells=2,
        fails_first=busy,
    )


TASKS: tuple[Callable[[Random, str], Draft], ...] = (_decoder, _customs, _trips)
