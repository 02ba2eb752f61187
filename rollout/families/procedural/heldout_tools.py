"""Tools of the held-out split only. Their names, the words of their trade and the keys of what they return are never in
training."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from rollout.families.procedural.listing_service import Desk, desk_task
from rollout.families.procedural.task_template import Draft
from rollout.families.procedural.tool import cipher_task
from rollout.families.procedural.vocabulary import TOWNS

DESKS = (
    Desk("search_rooms", {"place": TOWNS}, "at {0}", ("reserve",), "room", "voucher", ("rate",), ("stars",)),
    Desk("show_boats", {"harbor": TOWNS}, "in {0}", ("hire",), "boat", "permit", ("charge",), ("berths",), ("length",)),
)


def _decoder(rng: Random, group: str) -> Draft:
    return cipher_task(rng, group, "from_numbers")


def _desk(rng: Random, group: str) -> Draft:
    return desk_task(rng, group, rng.choice(DESKS))


TASKS: tuple[Callable[[Random, str], Draft], ...] = (_decoder, _desk)
