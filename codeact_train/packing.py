"""Best-fit decreasing: which documents share a pack.

Contract: every document with ``0 < length <= capacity`` gets exactly one place, in a pack whose total stays within
``capacity``; the result depends on the lengths alone. Documents are taken longest first; each goes where it leaves the
least room. Cost: O(n) steps, each one shift of a ``capacity``-bit integer that finds the tightest open pack.
It does not balance sources or shuffle: the sampler does that pack by pack.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PackPlan:
    """Documents pack after pack.

    ``document``: int64, document indices in order. ``offset``: int64, length packs + 1; pack ``p`` holds
    ``document[offset[p]:offset[p + 1]]``.
    """

    document: NDArray[np.int64]
    offset: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offset) - 1

    def __getitem__(self, pack: int) -> NDArray[np.int64]:
        return self.document[self.offset[pack] : self.offset[pack + 1]]


def best_fit_decreasing(lengths: NDArray[np.int64], capacity: int) -> PackPlan:
    """Lay documents of ``lengths`` slots into as few packs of ``capacity`` slots as best-fit decreasing finds.

    Raises ``ValueError`` when a length is not in [1, capacity].
    """
    if len(lengths) and not (lengths.min() >= 1 and lengths.max() <= capacity):
        raise ValueError(f"lengths must lie in [1, {capacity}], found [{lengths.min()}, {lengths.max()}]")
    packs: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]  # packs by slots left
    open_rooms = 0  # bit r is set when a pack has exactly r slots left
    order = np.lexsort((np.arange(len(lengths)), -lengths))
    for document, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        fitting = open_rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            pack = with_room[room].pop()
            if not with_room[room]:
                open_rooms ^= 1 << room
        else:
            room, pack = capacity, len(packs)
            packs.append([])
        packs[pack].append(document)
        left = room - length
        if left:
            with_room[left].append(pack)
            open_rooms |= 1 << left
    offset = np.cumsum([0, *map(len, packs)], dtype=np.int64)
    return PackPlan(np.array([d for pack in packs for d in pack], dtype=np.int64), offset)
