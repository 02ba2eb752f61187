"""Plays ``travel_itinerary_planning``: for each leg of the trip a flight and a hotel, then the sum."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollout.families.calling_expert import Call, Player

_START = re.compile(r'(?:at|from) "(\w)"')
_LEG = re.compile(r'to "(\w)" on (\d{4}-\d{2}-\d{2})')
_NIGHTS = re.compile(r"(\d+) nights")
_PURPOSE = re.compile(r"nights\) for (business|leisure)")
_OWN_WISHES = re.compile(r'[Ii]n "\w", [^;.]+')
_AMENITIES = ("wifi", "gym", "pool")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Leg:
    """A flight and a stay. ``wishes`` is the part of the task that says which hotel."""

    source: str
    city: str
    date: str
    nights: int
    wishes: str

    @property
    def amenities(self) -> tuple[str, ...]:
        """What the hotel must have."""
        return tuple(one for one in _AMENITIES if one in self.wishes and not self.unwanted(one))

    def unwanted(self, amenity: str) -> bool:
        """Whether the hotel must be without it."""
        return f"without a {amenity}" in self.wishes

    def hotel(self, hotels: Sequence[Row], cheap: bool) -> Row:
        """The hotel that fits: the best one, the cheapest, or the first."""
        fitting = [hotel for hotel in hotels if not any(map(self.unwanted, hotel["preferences"]))]
        if re.search("high(est)?[- ]rat", self.wishes):
            return max(fitting, key=lambda hotel: hotel["rating"])
        return min(fitting, key=lambda hotel: hotel["price_per_night"]) if cheap else fitting[0]


def read_legs(prompt: str) -> list[Leg]:
    """The legs of a trip."""
    stops, nights, purposes = _LEG.findall(prompt), _NIGHTS.findall(prompt), _PURPOSE.findall(prompt)
    start = _START.search(prompt)
    sources = [start[1] if start else "", *(city for city, _ in stops)]
    legs = []
    for at, (city, date) in enumerate(stops):
        wishes = _wishes(prompt, city, purposes[at] if purposes else "")
        legs.append(Leg(sources[at], city, date, int(nights[at]), wishes))
    return legs


def _wishes(prompt: str, city: str, purpose: str) -> str:
    """What is said of the hotel of a city: for its purpose, else of all hotels and of its own."""
    if purpose and (said := re.search(rf"[Ff]or {purpose}[^,.]*, prefer ([^;.]+)", prompt)):
        return said[1]
    own = re.search(rf'[Ii]n "{city}", ([^;.]+)', prompt)
    return _OWN_WISHES.sub("", prompt) + (own[1] if own else "")


def travel(prompt: str) -> Player:
    """Takes the cheapest flights; the hotels as the task says."""
    legs, cheap = read_legs(prompt), "cheap" in prompt or "economical" in prompt
    costs: list[tuple[int, int, int]] = []
    for leg in legs:
        flights, hotels = yield [
            Call("find_flights", (leg.source, leg.city, leg.date)),
            Call("book_hotel", (leg.city, *leg.amenities)),
        ]
        flight = min(flights, key=lambda one: one["price"])
        costs.append((flight["price"], leg.hotel(hotels, cheap)["price_per_night"], leg.nights))
    if len(costs) == 1:
        (total,) = yield [Call("budget_calculator", costs[0])]
    else:
        (total,) = yield [Call("sum", tuple(flight + night * nights for flight, night, nights in costs))]
    return str(total)
