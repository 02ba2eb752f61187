"""Listing tasks: a service lists its offers; the model reads their keys and orders the cheapest that fits."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from rollout.families.base import Demonstration
from rollout.families.procedural.flaky_toolset import FlakyToolset, documented
from rollout.families.procedural.task_template import TaskTemplate, Wordings, act, failed, propose
from rollout.families.procedural.vocabulary import GOODS, SUBJECTS, TOWNS


@dataclass(frozen=True)
class ListingService:
    """A service that lists offers and takes orders: its functions and vocabulary."""

    find: str
    places: dict[str, Sequence[str]]
    """Parameters of ``find`` and their possible values."""
    where: str
    orders: tuple[str, ...]
    """Possible names of the ordering function. Many verbs, so that the model copies the name from the prompt."""
    thing: str
    paper: str
    prices: tuple[str, ...]
    least: tuple[str, ...]
    """Keys of an offer for which larger is better."""
    most: tuple[str, ...] = ()
    """Keys of an offer for which smaller is better."""

    def stable_repr(self) -> str:
        """``repr`` under the class's first name, ``Desk``: digests of tasks contain it."""
        return "Desk" + repr(self).removeprefix(type(self).__name__)


SERVICES = (
    ListingService(
        "find_trips",
        {"origin": TOWNS, "destination": TOWNS},
        "from {0} to {1}",
        ("book", "secure", "pick"),
        "trip",
        "ticket",
        ("price", "fare", "cost"),
        ("seats",),
        ("hours",),
    ),
    ListingService(
        "list_cars",
        {"town": TOWNS},
        "in {0}",
        ("rent", "borrow", "drive"),
        "car",
        "contract",
        ("price", "cost"),
        ("doors",),
        ("age",),
    ),
    ListingService(
        "find_courses",
        {"subject": SUBJECTS},
        "on {0}",
        ("join", "attend", "enter"),
        "course",
        "receipt",
        ("price", "fee"),
        ("lessons",),
        ("weeks",),
    ),
    ListingService(
        "get_tents",
        {"valley": TOWNS},
        "near {0}",
        ("take", "pitch", "grab"),
        "tent",
        "coupon",
        ("rent", "price"),
        ("beds",),
        ("kilos",),
    ),
    ListingService(
        "query_bikes",
        {"station": TOWNS},
        "at {0}",
        ("unlock", "ride", "fetch"),
        "bike",
        "pin",
        ("cost", "toll"),
        ("gears",),
        ("years",),
    ),
    ListingService(
        "look_up_halls",
        {"city": TOWNS},
        "of {0}",
        ("claim", "occupy", "request"),
        "hall",
        "key",
        ("fee", "bill"),
        ("chairs",),
        ("steps",),
    ),
    ListingService(
        "offer_goods",
        {"port": TOWNS, "good": GOODS},
        "of {0} with {1}",
        ("order", "buy", "obtain"),
        "crate",
        "slip",
        ("value", "price"),
        ("boxes",),
        ("days",),
    ),
    ListingService(
        "open_tables",
        {"quarter": TOWNS},
        "for {0}",
        ("keep", "hold", "choose"),
        "table",
        "token",
        ("deposit", "fee"),
        ("places",),
        ("minutes",),
    ),
    ListingService(
        "see_horses",
        {"farm": TOWNS},
        "from {0}",
        ("lease", "mount", "acquire"),
        "horse",
        "badge",
        ("cost", "rent"),
        ("races",),
        ("falls",),
    ),
)


class ListingToolset(FlakyToolset):
    """Two functions: one lists the offers of a service, one orders."""

    kind = "Offers"

    def __init__(
        self, service: ListingService, order: str, busy: bool, offers: list[dict[str, Any]], papers: dict[str, str]
    ) -> None:
        super().__init__(busy)
        self.service, self.order, self.offers, self.papers = service, order, offers, papers

    def description(self) -> Any:
        """Everything that distinguishes this toolset from another, for the task's digest."""
        content = {**vars(self), "desk": self.service.stable_repr()}
        del content["service"]
        return [self.kind, *sorted(content.items())]

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions, under the names of this service."""
        fresh, service = copy.deepcopy(self), self.service

        def find(*places: str) -> list:
            fresh.connect()
            return fresh.offers

        def order(choice: str) -> str:
            if choice not in fresh.papers:
                raise KeyError(f"no {service.thing} {choice!r}")
            return fresh.papers[choice]

        around = " and ".join(service.places)
        return {
            service.find: documented(
                find, service.find, f"List the {service.thing}s by {around}.", tuple(service.places)
            ),
            self.order: documented(
                order, self.order, f"Get the {service.paper} of a {service.thing}.", (service.thing,)
            ),
        }


def listing_task(rng: Random, group: str, service: ListingService) -> TaskTemplate:
    """Order the cheapest offer that fits; the keys of the offers have to be looked at first."""
    least = not service.most or rng.random() < 0.5
    quality, price = rng.choice(service.least if least else service.most), rng.choice(service.prices)
    name = rng.choice(("id", "code", service.thing))
    offers = _offers(rng, name, price, quality)
    limit = rng.choice([offer[quality] for offer in offers])
    busy, order = rng.random() < 0.5, rng.choice(service.orders)
    papers = {offer[name]: f"{service.paper[0].upper()}{rng.randint(1000, 9999)}" for offer in offers}
    fitting = [o for o in offers if (o[quality] >= limit if least else o[quality] <= limit)]
    chosen = min(fitting, key=lambda offer: offer[price])
    places = [rng.choice(values) for values in service.places.values()]
    prompt = Wordings(
        (
            "{Order} the cheapest {thing} {where} with at {bound} {limit} {quality}. What is the {paper}?",
            "Find the cheapest {thing} {where} with at {bound} {limit} {quality}, {order} it and give the {paper}.",
            "Which {paper} comes with the cheapest {thing} {where} that has at {bound} {limit} {quality}? {Order} it.",
            "Get me the {paper} of a {thing} {where}: at {bound} {limit} {quality}, and none cheaper.",
        ),
        ("I need a {thing} {where}, as cheap as can be, but at {bound} {limit} {quality}. Which {paper} do I get?",),
    ).pick(
        rng, group, thing=service.thing, where=service.where.format(*places), bound="least" if least else "most",
        limit=limit, quality=quality, paper=service.paper, order=order, Order=order.title(),
    )  # fmt: skip
    return TaskTemplate(
        key=(service.find, order, *places, str(offers), limit, least, busy),
        prompt=prompt,
        answer=papers[chosen[name]],
        grader="text",
        expert=_choose_and_order(service, order, places, least, limit, misnames=rng.random() < 0.5),
        toolset=ListingToolset(service, order, busy, offers, papers),
        min_cells=2,
        fails_first=busy,
    )


def _offers(rng: Random, name: str, price: str, quality: str) -> list[dict[str, Any]]:
    """Three offers of different prices."""
    codes = rng.sample([f"{letter}{digit}" for letter in "ABCDEFGHKLMNPRST" for digit in range(1, 10)], 3)
    prices = rng.sample(range(20, 99), 3)
    return [{name: c, price: p, quality: rng.randint(2, 9)} for c, p in zip(codes, prices, strict=True)]


def _choose_and_order(
    service: ListingService, order: str, places: list[str], least: bool, limit: int, misnames: bool
) -> Callable[[bool], Demonstration]:
    """The expert. Its mistake: it ``misnames`` the ordering function, or passes ``find`` one argument too many."""

    def demonstrate(make_mistake: bool) -> Demonstration:
        values = ", ".join(f'"{place}"' for place in places)
        look = f"offers = {service.find}({values})\nprint(offers)"
        too_many = make_mistake and not misnames
        if too_many:
            yield act("I look at the offers.", f"offers = {service.find}({values}, {limit})\nprint(offers)")
        shown = yield act("It takes fewer values. I look." if too_many else "I look at the offers.", look)
        if failed(shown):
            shown = yield act("The line was busy, I call again.", look)
        name, price, quality = ast.literal_eval(shown.strip())[0]
        good = f'good = [o for o in offers if o["{quality}"] {">=" if least else "<="} {limit}]'
        best = f'best = min(good, key=lambda o: o["{price}"])'
        take = f'{good}\n{best}\nprint({{}}(best["{name}"]))'
        if make_mistake and misnames:
            yield act("I take the cheapest that fits.", take.format(f"{order}_{service.thing}"))
        thought = f"It is called {order}." if make_mistake and misnames else "I take the cheapest that fits."
        result = yield act(thought, take.format(order))
        yield propose(result)

    return demonstrate
