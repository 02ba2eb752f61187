"""Tools that occur only in the held-out split: another decoder, another kind of offers. Their names, their words and
the keys of what they return are never in training.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from random import Random

from rollout.tasks.procedural.draft import Draft
from rollout.tasks.procedural.tool import BusyLine, Decoder, choose_and_book, cipher_task, offers
from rollout.tasks.procedural.vocabulary import TOWNS


class OtherDecoder(Decoder):
    """As the decoder of training, but the outer code is base64."""

    names = ("unpack_base64", "shift")

    def unpack_base64(self, text: str) -> str:
        """Turn base64 into text."""
        return base64.b64decode(text).decode()


def _decoder(rng: Random, group: str) -> Draft:
    return cipher_task(
        rng, group, OtherDecoder(), "unpack_base64", lambda text: base64.b64encode(text.encode()).decode()
    )


class Rooms(BusyLine):
    """A hotel desk."""

    names = ("search_rooms", "reserve")

    def __init__(self, busy: bool, rooms: list[dict[str, object]], vouchers: dict[str, str]) -> None:
        super().__init__(busy)
        self.rooms, self.vouchers = rooms, vouchers

    def search_rooms(self, town: str) -> list:
        """List the free rooms in a town."""
        self.dial()
        return self.rooms

    def reserve(self, room: str) -> str:
        """Reserve a room and get its voucher."""
        if room not in self.vouchers:
            raise KeyError(f"no room {room!r}")
        return self.vouchers[room]


def _rooms(rng: Random, group: str) -> Draft:
    town, busy = rng.choice(TOWNS), rng.random() < 0.5
    rooms = offers(rng, "rate", "stars", "room", 1, 5)
    limit = rng.choice([int(str(room["stars"])) for room in rooms])
    vouchers = {str(room["room"]): f"V{rng.randint(1000, 9999)}" for room in rooms}
    fitting = [room for room in rooms if int(str(room["stars"])) >= limit]
    chosen = min(fitting, key=lambda room: int(str(room["rate"])))
    return Draft(
        key=(town, str(rooms), limit, busy),
        prompt=f"Reserve the cheapest room in {town} with at least {limit} stars. What is the voucher?",
        answer=vouchers[str(chosen["room"])],
        grader="text",
        expert=choose_and_book(f'search_rooms("{town}")', "reserve", True, limit),
        toolset=Rooms(busy, rooms, vouchers),
        min_cells=2,
        fails_first=busy,
    )


TASKS: tuple[Callable[[Random, str], Draft], ...] = (_decoder, _rooms)
