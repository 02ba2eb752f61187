"""Desk tasks: a service lists its offers, the cheapest that fits is chosen by the keys seen, and ordered."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from rollout.families.base import Demonstration
from rollout.families.procedural.flaky_toolset import BusyLine, described
from rollout.families.procedural.task_template import Draft, Wordings, act, failed, propose
from rollout.families.procedural.vocabulary import GOODS, SUBJECTS, TOWNS


@dataclass(frozen=True)
class Desk:
    """A service that lists offers and takes orders: its functions and the words of its trade."""

    find: str
    places: dict[str, Sequence[str]]
    """Parameters of ``find`` and what they may be."""
    where: str
    orders: tuple[str, ...]
    """What its ordering function may be called. Many verbs, so that a name is copied from the prompt, not recalled."""
    thing: str
    paper: str
    prices: tuple[str, ...]
    least: tuple[str, ...]
    """Keys of an offer that are better the larger they are."""
    most: tuple[str, ...] = ()
    """Keys of an offer that are better the smaller they are."""


DESKS = (
    Desk("find_trips", {"origin": TOWNS, "destination": TOWNS}, "from {0} to {1}", ("book", "secure", "pick"), "trip",
         "ticket", ("price", "fare", "cost"), ("seats",), ("hours",)),
    Desk("list_cars", {"town": TOWNS}, "in {0}", ("rent", "borrow", "drive"), "car", "contract",
         ("price", "cost"), ("doors",), ("age",)),
    Desk("find_courses", {"subject": SUBJECTS}, "on {0}", ("join", "attend", "enter"), "course", "receipt",
         ("price", "fee"), ("lessons",), ("weeks",)),
    Desk("get_tents", {"valley": TOWNS}, "near {0}", ("take", "pitch", "grab"), "tent", "coupon",
         ("rent", "price"), ("beds",), ("kilos",)),
    Desk("query_bikes", {"station": TOWNS}, "at {0}", ("unlock", "ride", "fetch"), "bike", "pin",
         ("cost", "toll"), ("gears",), ("years",)),
    Desk("look_up_halls", {"city": TOWNS}, "of {0}", ("claim", "occupy", "request"), "hall", "key",
         ("fee", "bill"), ("chairs",), ("steps",)),
    Desk("offer_goods", {"port": TOWNS, "good": GOODS}, "of {0} with {1}", ("order", "buy", "obtain"), "crate", "slip",
         ("value", "price"), ("boxes",), ("days",)),
    Desk("open_tables", {"quarter": TOWNS}, "for {0}", ("keep", "hold", "choose"), "table", "token",
         ("deposit", "fee"), ("places",), ("minutes",)),
    Desk("see_horses", {"farm": TOWNS}, "from {0}", ("lease", "mount", "acquire"), "horse", "badge",
         ("cost", "rent"), ("races",), ("falls",)),
)  # fmt: skip


class Offers(BusyLine):
    """What a desk has today."""

    def __init__(
        self, desk: Desk, order: str, busy: bool, offers: list[dict[str, Any]], papers: dict[str, str]
    ) -> None:
        super().__init__(busy)
        self.desk, self.order, self.offers, self.papers = desk, order, offers, papers

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The desk's two functions."""
        fresh, desk = copy.deepcopy(self), self.desk

        def find(*places: str) -> list:
            fresh.dial()
            return fresh.offers

        def order(choice: str) -> str:
            if choice not in fresh.papers:
                raise KeyError(f"no {desk.thing} {choice!r}")
            return fresh.papers[choice]

        around = " and ".join(desk.places)
        return {
            desk.find: described(find, desk.find, f"List the {desk.thing}s by {around}.", tuple(desk.places)),
            self.order: described(order, self.order, f"Get the {desk.paper} of a {desk.thing}.", (desk.thing,)),
        }


def desk_task(rng: Random, group: str, desk: Desk) -> Draft:
    """Take the cheapest offer that fits: look at the offers, choose by the keys seen, order."""
    least = not desk.most or rng.random() < 0.5
    quality, price = rng.choice(desk.least if least else desk.most), rng.choice(desk.prices)
    name = rng.choice(("id", "code", desk.thing))
    offers = _offers(rng, name, price, quality)
    limit = rng.choice([offer[quality] for offer in offers])
    busy, order = rng.random() < 0.5, rng.choice(desk.orders)
    papers = {offer[name]: f"{desk.paper[0].upper()}{rng.randint(1000, 9999)}" for offer in offers}
    fitting = [o for o in offers if (o[quality] >= limit if least else o[quality] <= limit)]
    chosen = min(fitting, key=lambda offer: offer[price])
    places = [rng.choice(values) for values in desk.places.values()]
    prompt = Wordings(
        (
            "{Order} the cheapest {thing} {where} with at {bound} {limit} {quality}. What is the {paper}?",
            "Find the cheapest {thing} {where} with at {bound} {limit} {quality}, {order} it and give the {paper}.",
            "Which {paper} comes with the cheapest {thing} {where} that has at {bound} {limit} {quality}? {Order} it.",
            "Get me the {paper} of a {thing} {where}: at {bound} {limit} {quality}, and none cheaper.",
        ),
        ("I need a {thing} {where}, as cheap as can be, but at {bound} {limit} {quality}. Which {paper} do I get?",),
    ).pick(
        rng, group, thing=desk.thing, where=desk.where.format(*places), bound="least" if least else "most",
        limit=limit, quality=quality, paper=desk.paper, order=order, Order=order.title(),
    )  # fmt: skip
    return Draft(
        key=(desk.find, order, *places, str(offers), limit, least, busy),
        prompt=prompt,
        answer=papers[chosen[name]],
        grader="text",
        expert=_choose_and_order(desk, order, places, least, limit, misnames=rng.random() < 0.5),
        toolset=Offers(desk, order, busy, offers, papers),
        min_cells=2,
        fails_first=busy,
    )


def _offers(rng: Random, name: str, price: str, quality: str) -> list[dict[str, Any]]:
    """Three offers of different prices."""
    codes = rng.sample([f"{letter}{digit}" for letter in "ABCDEFGHKLMNPRST" for digit in range(1, 10)], 3)
    prices = rng.sample(range(20, 99), 3)
    return [{name: c, price: p, quality: rng.randint(2, 9)} for c, p in zip(codes, prices, strict=True)]


def _choose_and_order(
    desk: Desk, order: str, places: list[str], least: bool, limit: int, misnames: bool
) -> Callable[[bool], Demonstration]:
    """The expert; when it errs, it ``misnames`` the ordering function or asks for more than the first one takes."""

    def demonstrate(errs: bool) -> Demonstration:
        values = ", ".join(f'"{place}"' for place in places)
        look = f"offers = {desk.find}({values})\nprint(offers)"
        too_many = errs and not misnames
        if too_many:
            yield act("I look at the offers.", f"offers = {desk.find}({values}, {limit})\nprint(offers)")
        shown = yield act("It takes fewer values. I look." if too_many else "I look at the offers.", look)
        if failed(shown):
            shown = yield act("The line was busy, I call again.", look)
        name, price, quality = ast.literal_eval(shown.strip())[0]
        good = f'good = [o for o in offers if o["{quality}"] {">=" if least else "<="} {limit}]'
        best = f'best = min(good, key=lambda o: o["{price}"])'
        take = f'{good}\n{best}\nprint({{}}(best["{name}"]))'
        if errs and misnames:
            yield act("I take the cheapest that fits.", take.format(f"{order}_{desk.thing}"))
        thought = f"It is called {order}." if errs and misnames else "I take the cheapest that fits."
        result = yield act(thought, take.format(order))
        yield propose(result)

    return demonstrate
