"""Functions of the domain ``travel_itinerary_planning``, over the benchmark's tables of flights and hotels.

The names of cities carry quotation marks in the tables; arguments are read with and without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rollout.families.base import Toolset

LOCATIONS = [f'"{letter}"' for letter in "ABCDEF"]
KERNEL_SETUP = "from builtins import max, min"
"""In cells, ``max`` and ``min`` are Python's own, which also take ``key`` and ``default``, as in the original."""


class Travel(Toolset):
    """Finds flights and hotels, and adds up. ``flights`` and ``hotels`` are rows of the benchmark."""

    kind: ClassVar[str | None] = "m3tooleval-travel"
    names = ("find_flights", "book_hotel", "budget_calculator", "max", "min", "sum")

    def __init__(self, flights: Sequence[Mapping[str, Any]], hotels: Sequence[Mapping[str, Any]]) -> None:
        self.flights, self.hotels = list(flights), list(hotels)

    def fresh(self) -> Travel:
        """The toolset itself: it has no state."""
        return self

    fork = fresh

    def find_flights(self, from_location: str, to_location: str, date: str) -> list[dict[str, Any]]:
        """Returns the flights of a date (YYYY-MM-DD), each with "from_location", "to_location", "date" and "price"."""
        source = _city(from_location, "Origin", "from_locations")
        target = _city(to_location, "Destination", "to_locations")
        wanted = (source, target, date)
        return [
            dict(flight)
            for flight in self.flights
            if (_bare(flight["from_location"]), _bare(flight["to_location"]), flight["date"]) == wanted
        ]

    def book_hotel(self, location: str, *preferences: str) -> list[dict[str, Any]]:
        """Returns the hotels with all preferences, each with "location", "preferences", "price_per_night", "rating"."""
        city = _city(location, "Location", "locations")
        return [
            dict(hotel)
            for hotel in self.hotels
            if _bare(hotel["location"]) == city and set(preferences) <= set(hotel["preferences"])
        ]

    def budget_calculator(self, flight_price: float, hotel_price_per_night: float, num_nights: int) -> float:
        """Returns the budget of a trip: the flight and all nights."""
        return flight_price + hotel_price_per_night * num_nights

    def max(self, *args: float | list[float]) -> float:
        """Returns the largest of the arguments, which are numbers."""
        return max(*args)  # type: ignore[return-value]

    def min(self, *args: float | list[float]) -> float:
        """Returns the smallest of the arguments, which are numbers."""
        return min(*args)  # type: ignore[return-value]

    def sum(self, *args: float) -> float:
        """Returns the sum of the arguments, which are numbers."""
        return sum(args)


def _bare(name: str) -> str:
    return name.strip('"')


def _city(name: str, role: str, roles: str) -> str:
    """The name without quotation marks. Raises ValueError when the benchmark has no such city."""
    city = _bare(name)
    if f'"{city}"' not in LOCATIONS:
        raise ValueError(f"{role} [{city}] is not supported. Supported {roles}: {LOCATIONS}")
    return city
