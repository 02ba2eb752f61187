"""Packing: which documents share a pack.

Contract: every document with ``0 < length <= capacity`` gets exactly one slot range, in a pack whose total stays within
``capacity``. The plan depends on the lengths alone. :func:`best_fit_decreasing` takes documents longest first and puts
each into the pack it fills most tightly. Documents of equal length are interchangeable and are placed as a group, so
the cost is a sort plus one step per pair of a length and a free space that meet, not one per document. It does not
balance sources or shuffle; the sampler shuffles packs. Figures: ``benchmarks/packing.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PackPlan:
    """The documents of each pack.

    ``document``: int64, document indices in pack order. ``offset``: int64 [packs + 1]; pack ``p`` holds
    ``document[offset[p]:offset[p + 1]]``.
    """

    document: NDArray[np.int64]
    offset: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offset) - 1

    def __getitem__(self, pack: int) -> NDArray[np.int64]:
        return self.document[self.offset[pack] : self.offset[pack + 1]]

    @classmethod
    def concatenate(cls, plans: list[PackPlan]) -> PackPlan:
        """The packs of several plans, one plan after another."""
        offsets = [plan.offset[1:] for plan in plans]
        before = np.cumsum([0, *(len(plan.document) for plan in plans)])
        return cls(
            np.concatenate([np.zeros(0, np.int64), *(plan.document for plan in plans)]),
            np.concatenate([np.zeros(1, np.int64), *(o + b for o, b in zip(offsets, before, strict=False))]),
        )


class _OpenPacks:
    """Packs with free slots, grouped by the number of free slots; newest last in each group."""

    def __init__(self, capacity: int):
        self._by_room: list[list[int]] = [[] for _ in range(capacity + 1)]
        self._rooms = 0  # bit r is set when a pack has exactly r slots left

    def tightest(self, size: int) -> int | None:
        """The smallest free space of at least ``size`` slots, or ``None``."""
        fitting = self._rooms >> size
        return size + (fitting & -fitting).bit_length() - 1 if fitting else None

    def pop(self, room: int, count: int) -> list[int]:
        """Remove up to ``count`` packs with exactly ``room`` free slots, newest first."""
        packs = self._by_room[room]
        taken = packs[: -count - 1 : -1]
        del packs[-count:]
        if not packs:
            self._rooms ^= 1 << room
        return taken

    def push(self, room: int, packs: list[int]) -> None:
        """Add packs with ``room`` free slots."""
        if room and packs:
            self._by_room[room] += packs
            self._rooms |= 1 << room


def best_fit_decreasing(lengths: NDArray[np.int64], capacity: int) -> PackPlan:
    """Pack documents of ``lengths`` slots into packs of ``capacity`` slots by best-fit decreasing.

    Raises ``ValueError`` when a length is not in [1, capacity].
    """
    if len(lengths) and not (lengths.min() >= 1 and lengths.max() <= capacity):
        raise ValueError(f"lengths must lie in [1, {capacity}], found [{lengths.min()}, {lengths.max()}]")
    order = np.argsort(-lengths, kind="stable")
    pack_of = np.empty(len(lengths), np.int64)  # in that order
    opened, placed = 0, 0
    still_open = _OpenPacks(capacity)
    sizes, counts = np.unique(lengths, return_counts=True)
    for size, count in zip(sizes[::-1].tolist(), counts[::-1].tolist(), strict=True):
        left = count
        while left:
            room = still_open.tightest(size)
            # the tightest pack stays the tightest until it is full, so each gets all it can hold at once
            each = (room or capacity) // size
            wanted = -(-left // each)
            if room is None:
                room, packs = capacity, list(range(opened, opened + wanted))
                opened += wanted
            else:
                packs = still_open.pop(room, wanted)
            here = min(left, each * len(packs))
            pack_of[placed : placed + here] = np.repeat(packs, each)[:here] if len(packs) > 1 else packs[0]
            placed, left = placed + here, left - here
            full, rest = divmod(here, each)
            still_open.push(room - each * size, packs[:full])
            still_open.push(room - rest * size, packs[full:])
    offset = np.concatenate([[0], np.cumsum(np.bincount(pack_of, minlength=opened))]).astype(np.int64)
    return PackPlan(order[np.argsort(pack_of, kind="stable")], offset)
