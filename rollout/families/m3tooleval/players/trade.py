"""Plays ``trade_calculator``: reads prices, quantities, rates and tariffs, and computes each offer.

One offer is computed with the functions of the domain; several with the calculator, one call each, since the turns
are limited.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from rollout.families.calling_expert import Call, Player

_QUANTITIES = re.compile(r"((?:\d+, )*(?:and )?\d+) units")
_THRESHOLD = re.compile(r"(\d+) units or more")
_PRICE = re.compile(r"(\d+) (?:galactic )?credits")
_RATE = re.compile(r"\d+\.\d+")
_PERCENT = re.compile(r"(\d+)%")
_DISCOUNT = re.compile(r"(\d+)% (?:discount|off)")
_DEMAND = re.compile(r"increase by (\d+)% in high demand and decrease by (\d+)% in low demand")
_FUTURE = re.compile(r"a (\d+)% higher price, but face a (\d+)% increase in tariff and a ([\d.]+) decrease")
_ALL_AT_THE_END = ("list of", "list them")


@dataclass(frozen=True)
class Offer:
    """What is traded. ``price`` is an expression."""

    price: str
    quantity: int
    rate: str
    tariff: str

    @property
    def expression(self) -> str:
        """The final trade value."""
        return f"{self.price} * {self.quantity} * {self.rate} * (1 + {self.tariff} / 100)"


def trade(prompt: str) -> Player:
    """Computes the value of every offer, then what the task asks of them."""
    if found := re.search(r"price of (\d+) units with a tariff of ([\d.]+) units", prompt):
        return str((yield from _final_value(int(found[1]), float(found[2]))))
    offers = read_offers(prompt)
    if len(offers) == 1:
        return str((yield from _one(offers[0])))
    values = yield [Call("calculator", (offer.expression,)) for offer in offers]
    if "subtracting" in prompt:
        (left,) = yield [Call("calculator", (f"{values[0]} - {values[1]}",))]
        return str(left)
    if any(words in prompt for words in _ALL_AT_THE_END):
        return str(values)
    least = re.search("least|minimum", prompt)
    (chosen,) = yield [Call("find_minimum" if least else "find_maximum", tuple(values))]
    return str(chosen)


def read_offers(prompt: str) -> list[Offer]:
    """The offers of a task: the n-th of everything that is listed, or the only one."""
    future, demand = _FUTURE.search(prompt), _DEMAND.search(prompt)
    text = prompt
    for changes in (_FUTURE, _DEMAND, _THRESHOLD):
        text = changes.sub("", text)
    text = _DISCOUNT.sub("", text)
    quantities = [int(number) for found in _QUANTITIES.findall(text) for number in re.findall(r"\d+", found)]
    prices, rates, tariffs = _PRICE.findall(text) or ["1"], _RATE.findall(text), _PERCENT.findall(text)
    if demand:
        more, less = demand.groups()
        prices = [f"{prices[0]} * (1 + {more} / 100)", prices[0], f"{prices[0]} * (1 - {less} / 100)"]
    if "of each commodity" in text:
        pairs = list(product(prices, quantities))
        prices, quantities = [price for price, _ in pairs], [quantity for _, quantity in pairs]
    number = max(map(len, (prices, quantities, rates, tariffs)))
    offers = [Offer(_nth(prices, at), _nth(quantities, at), _nth(rates, at), _nth(tariffs, at)) for at in range(number)]
    offers = [_discounted(offer, prompt) for offer in offers]
    if future:
        higher, more, less = future.groups()
        now = offers[0]
        price = f"{now.price} * (1 + {higher} / 100)"
        offers.append(Offer(price, now.quantity, f"({now.rate} - {less})", f"({now.tariff} + {more})"))
    return offers


def _nth(listed: Sequence[Any], at: int) -> Any:
    return listed[at] if len(listed) > 1 else listed[0]


def _discounted(offer: Offer, prompt: str) -> Offer:
    """The offer at the price of its quantity."""
    discount, least = _DISCOUNT.search(prompt), _THRESHOLD.search(prompt)
    if not discount or not least or offer.quantity < int(least[1]):
        return offer
    return Offer(f"{offer.price} * (1 - {discount[1]} / 100)", offer.quantity, offer.rate, offer.tariff)


def _one(offer: Offer) -> Generator[Sequence[Call], list[Any], Any]:
    (price,) = yield [Call("calculator", (f"{offer.price} * {offer.quantity}",))]
    (converted,) = yield [Call("convert_currency", (price, float(offer.rate)))]
    return (yield from _final_value(converted, float(offer.tariff)))


def _final_value(price: float, tariff: float) -> Generator[Sequence[Call], list[Any], Any]:
    (due,) = yield [Call("calculate_tariff", (price, tariff))]
    (value,) = yield [Call("estimate_final_value", (price, due))]
    return value
