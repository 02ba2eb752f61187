"""Keeps the objects kernels share apart from those they make, so that a fork copies little and copies it late.

Contract: call :func:`reserve` before anything large is imported and :func:`close` when everything is. Python's small
objects then lie in one piece of memory, which fits into huge pages, not strewn between the libraries; and no place
between them is free, so that what a kernel makes lies together in memory of its own and not in pages it would have to
copy first. Saves a tenth of a kernel's start and of its memory. Knows CPython's allocator (3.10 and later: blocks of
16 to 512 bytes in arenas of up to 1 MiB); under another one it does nothing of use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sandbox.guest.isolation.linux import allocated

ARENA_BYTES = 1 << 20
RESERVED = 64
"""Arenas: what IPython, pandas and matplotlib fill, and then some; those left over are given back."""
BLOCK = 512
"""The largest block that comes from an arena."""
STEP = 16
BYTES_HEAD = 33
"""What a ``bytes`` object takes beyond its content."""
GAPS = 200_000
"""Never fills more; there are about 8,000."""
_kept: list[object] = []


def reserve() -> None:
    """Takes arenas side by side, each held by one object until :func:`close`."""
    objects: list[object] = [None] * (RESERVED * ARENA_BYTES // BLOCK)  # a list that grew would take memory in between
    for place in range(len(objects)):
        objects[place] = bytes(BLOCK - BYTES_HEAD)
    _kept.extend(objects[:: ARENA_BYTES // BLOCK // 2])


def close() -> None:
    """Gives back what was not needed and fills every gap that is left."""
    _kept.clear()
    old = {block for begin, end in allocated() for block in range(begin // ARENA_BYTES, end // ARENA_BYTES + 1)}
    for make in _one_of_each_size():
        while len(_kept) < GAPS:
            _kept.append(filler := make())
            if id(filler) // ARENA_BYTES not in old:
                break


def _one_of_each_size() -> Iterator[Callable[[], object]]:
    """Makers of objects that fill one block each, the largest first: those take the memory any size could have."""
    for size in range(BLOCK, 2 * STEP, -STEP):
        yield partial(bytes, size - BYTES_HEAD)
    yield partial(complex, 1, 1)
    yield object
