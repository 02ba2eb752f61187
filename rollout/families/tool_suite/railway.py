"""Domain ``railway``: a timetable of trains with prices, seats and transfers."""

from __future__ import annotations

import copy
import re
from random import Random
from typing import Any

from rollout.bank.trajectory import digest_of
from rollout.families.base import Toolset
from rollout.families.procedural.vocabulary import NAMES, TOWNS
from rollout.families.tool_suite.question import (
    LONG,
    MIDDLE,
    SHORT,
    TRUTH,
    TWO_DECIMALS,
    Domain,
    Question,
    only_best,
)


class Railway(Toolset):
    """Trains of one day. Times are ``HH:MM``, so that they can be compared as texts."""

    kind = "Railway"
    names = ("departures", "stops_of", "time_at", "minutes_between", "price", "seats_free", "book_seat")

    def __init__(self, trains: dict[str, dict[str, Any]]) -> None:
        self.trains = trains

    def departures(self, station: str, after: str) -> list[str]:
        """Numbers of the trains that leave a station at a time (HH:MM) or later, the earliest first."""
        if not any(station in train["stops"] for train in self.trains.values()):
            raise ValueError(f"there is no station {station!r}")
        minutes(after)
        leaving = [
            (train["stops"][station], number)
            for number, train in self.trains.items()
            if station in list(train["stops"])[:-1] and train["stops"][station] >= after
        ]
        return [number for _, number in sorted(leaving)]

    def stops_of(self, train: str) -> list[str]:
        """The stations of a train in order."""
        return list(self._train(train)["stops"])

    def time_at(self, train: str, station: str) -> str:
        """Time (HH:MM) of a train at a station."""
        return str(self._train(train, station)["stops"][station])

    def minutes_between(self, earlier: str, later: str) -> int:
        """Minutes from one time (HH:MM) to a later one."""
        return minutes(later) - minutes(earlier)

    def price(self, train: str, start: str, end: str) -> float:
        """Price of a ticket in euros for a train from one of its stations to a later one."""
        stops = list(self._train(train, start, end)["stops"])
        if stops.index(start) >= stops.index(end):
            raise ValueError(f"{train} does not go from {start} to {end}")
        found = self._train(train)
        return round(found["base"] + found["each"] * (stops.index(end) - stops.index(start)), 2)

    def seats_free(self, train: str) -> int:
        """How many seats of a train are free."""
        return int(self._train(train)["seats"])

    def book_seat(self, train: str, passenger: str) -> str:
        """Book a seat of a train for a passenger; returns the number of the ticket."""
        if self._train(train)["seats"] < 1:
            raise ValueError(f"no seat of {train} is free")
        self._train(train)["seats"] -= 1
        return f"T{int(digest_of([train, passenger], 6), 16) % 100_000:05d}"

    def _train(self, train: str, *stations: str) -> dict[str, Any]:
        if train not in self.trains:
            raise ValueError(f"there is no train {train!r}")
        for station in stations:
            if station not in self.trains[train]["stops"]:
                raise ValueError(f"{train} does not stop at {station!r}")
        return self.trains[train]


def minutes(time: str) -> int:
    """Minutes since midnight. Raises ``ValueError`` for a text that is no time."""
    if not re.fullmatch(r"\d\d:\d\d", time):
        raise ValueError(f"{time!r} is no time; write it as HH:MM")
    return 60 * int(time[:2]) + int(time[3:])


def world(rng: Random, level: str) -> Railway:
    """Nine trains along a line of six stations; each leaves some of them out."""
    line = rng.sample(TOWNS, 6)
    trains: dict[str, dict[str, Any]] = {}
    for number in rng.sample(range(100, 1000), 9):
        first = rng.randint(0, 2)
        stations = [line[first], *(station for station in line[first + 1 :] if rng.random() < 0.7)]
        if len(stations) < 3:
            stations = line[first:]
        now, stops = rng.randint(6 * 60, 17 * 60), {}
        for station in stations:
            stops[station] = f"{now // 60:02d}:{now % 60:02d}"
            now += rng.randint(12, 55)
        base, each = rng.randint(300, 1900) / 100, rng.randint(150, 900) / 100
        trains[f"R{number}"] = {"stops": stops, "base": base, "each": each, "seats": rng.randint(1, 60)}
    return Railway(trains)


def _train(rng: Random, railway: Railway) -> tuple[str, list[str]]:
    number = rng.choice(list(railway.trains))
    return number, railway.stops_of(number)


def _between(railway: Railway, start: str, end: str, after: str = "00:00") -> list[str]:
    """The trains from one station to another that leave at a time or later, the earliest first."""
    found = railway.departures(start, after)
    return [train for train in found if end in railway.stops_of(train)[railway.stops_of(train).index(start) :]]


def _trip(rng: Random, railway: Railway) -> tuple[str, str, str]:
    """Start, end and time of a trip that at least one train makes."""
    number, stops = _train(rng, railway)
    start, end = sorted(rng.sample(stops, 2), key=stops.index)
    hour = minutes(railway.time_at(number, start)) // 60 - rng.randint(0, 5)
    return start, end, f"{max(hour, 0):02d}:00"


def _arrival(rng: Random, railway: Railway) -> Question:
    number, stops = _train(rng, railway)
    station = rng.choice(stops[1:])
    return Question(
        f"When is the train {number} at {station}? Answer with the time as HH:MM.",
        railway.time_at(number, station),
        f'answer = time_at("{number}", "{station}")\nprint(answer)',
    )


def _party(rng: Random, railway: Railway) -> Question:
    number, stops = _train(rng, railway)
    start, end = sorted(rng.sample(stops, 2), key=stops.index)
    count = rng.randint(2, 9)
    return Question(
        f"{count} friends take the train {number} from {start} to {end}. What do they pay together, in euros? "
        f"{TWO_DECIMALS}",
        round(count * railway.price(number, start, end), 2),
        f'answer = round({count} * price("{number}", "{start}", "{end}"), 2)\nprint(answer)',
    )


def _enough_seats(rng: Random, railway: Railway) -> Question:
    number, stops = _train(rng, railway)
    station = rng.choice([stop for train in railway.trains.values() for stop in train["stops"]])
    count = rng.randint(3, 30)
    return Question(
        f"Does the train {number} stop at {station}, and are at least {count} of its seats free? {TRUTH}",
        station in stops and railway.seats_free(number) >= count,
        f'stops, seats = stops_of("{number}"), seats_free("{number}")\n'
        f'answer = "{station}" in stops and seats >= {count}\nprint(answer)',
    )


def _ticket(rng: Random, railway: Railway) -> Question:
    number, passenger = _train(rng, railway)[0], rng.choice(NAMES)
    changed = copy.deepcopy(railway)
    return Question(
        f"Book a seat of the train {number} for {passenger}. What is the number of the ticket?",
        changed.book_seat(number, passenger),
        f'answer = book_seat("{number}", "{passenger}")\nprint(answer)',
    )


def _first_train(rng: Random, railway: Railway) -> Question:
    start, end, after = _trip(rng, railway)
    return Question(
        f"Which is the first train that leaves {start} at {after} or later and goes on to {end}? Answer with its "
        "number.",
        _between(railway, start, end, after)[0],
        f'for train in departures("{start}", "{after}"):\n    stops = stops_of(train)\n'
        f'    if "{end}" in stops[stops.index("{start}"):]:\n        answer = train\n        break\nprint(answer)',
    )


def _transfer(rng: Random, railway: Railway) -> Question | None:
    (first, stops), (second, others) = _train(rng, railway), _train(rng, railway)
    shared = [stop for stop in stops[1:] if stop in others[:-1] and first != second]
    if not shared or railway.time_at(first, shared[0]) >= railway.time_at(second, shared[0]):
        return None
    return Question(
        f"I come with the train {first} to {shared[0]} and go on with the train {second}. How many minutes are there "
        "between the two?",
        minutes(railway.time_at(second, shared[0])) - minutes(railway.time_at(first, shared[0])),
        f'answer = minutes_between(time_at("{first}", "{shared[0]}"), time_at("{second}", "{shared[0]}"))\n'
        "print(answer)",
    )


def _all_trains(rng: Random, railway: Railway) -> Question:
    start, end, after = _trip(rng, railway)
    return Question(
        f"Which trains leave {start} at {after} or later and go on to {end}? Answer with the list of their numbers, "
        "the earliest first.",
        _between(railway, start, end, after),
        f'answer = []\nfor train in departures("{start}", "{after}"):\n    stops = stops_of(train)\n'
        f'    if "{end}" in stops[stops.index("{start}"):]:\n        answer.append(train)\nprint(answer)',
    )


def _cheapest_named(rng: Random, railway: Railway) -> Question | None:
    start, end, _ = _trip(rng, railway)
    trains = _between(railway, start, end)
    if len(trains) < 3:
        return None
    listed = ", ".join(f'"{train}"' for train in trains)
    return Question(
        f"The trains {', '.join(trains)} go from {start} to {end}. What does the cheapest of them cost, in euros? "
        f"{TWO_DECIMALS}",
        min(railway.price(train, start, end) for train in trains),
        f'answer = min(price(train, "{start}", "{end}") for train in ({listed}))\nprint(answer)',
    )


def _cheapest(rng: Random, railway: Railway) -> Question | None:
    start, end, after = _trip(rng, railway)
    prices = {train: railway.price(train, start, end) for train in _between(railway, start, end, after)}
    train = only_best(prices, min)
    if train is None or len(prices) < 2:
        return None
    return Question(
        f"Which is the cheapest train that leaves {start} at {after} or later and goes on to {end}? Answer with its "
        "number.",
        train,
        f'prices = {{}}\nfor train in departures("{start}", "{after}"):\n    stops = stops_of(train)\n'
        f'    if "{end}" in stops[stops.index("{start}"):]:\n'
        f'        prices[train] = price(train, "{start}", "{end}")\n'
        "answer = min(prices, key=prices.get)\nprint(answer)",
    )


def _quickest(rng: Random, railway: Railway) -> Question | None:
    start, end, _ = _trip(rng, railway)
    trains = _between(railway, start, end)[:3]
    if len(trains) < 2:
        return None
    took = [minutes(railway.time_at(train, end)) - minutes(railway.time_at(train, start)) for train in trains]
    listed = ", ".join(f'"{train}"' for train in trains)
    return Question(
        f"The trains {', '.join(trains)} go from {start} to {end}. How many minutes does the quickest of them take?",
        min(took),
        f"took = []\nfor train in ({listed}):\n"
        f'    took.append(minutes_between(time_at(train, "{start}"), time_at(train, "{end}")))\n'
        "answer = min(took)\nprint(answer)",
    )


DOMAIN = Domain(
    world,
    {
        SHORT: (_arrival, _party, _enough_seats, _ticket),
        MIDDLE: (_first_train, _transfer, _all_trains, _cheapest_named),
        LONG: (_all_trains, _cheapest, _quickest),
    },
)
