"""Tools of the held-out split. Their names, vocabulary and result keys never occur in training."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from rollout.families.procedural.cipher import cipher_task
from rollout.families.procedural.listing_service import ListingService, listing_task
from rollout.families.procedural.task_template import TaskTemplate
from rollout.families.procedural.vocabulary import TOWNS

SERVICES = (
    ListingService("search_rooms", {"place": TOWNS}, "at {0}", ("reserve",), "room", "voucher", ("rate",), ("stars",)),
    ListingService(
        "show_boats", {"harbor": TOWNS}, "in {0}", ("hire",), "boat", "permit", ("charge",), ("berths",), ("length",)
    ),
)


def _cipher(rng: Random, group: str) -> TaskTemplate:
    return cipher_task(rng, group, "from_numbers")


def _listing(rng: Random, group: str) -> TaskTemplate:
    return listing_task(rng, group, rng.choice(SERVICES))


TASKS: tuple[Callable[[Random, str], TaskTemplate], ...] = (_cipher, _listing)
