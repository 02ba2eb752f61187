"""Heap layout for copy-on-write: keeps the objects that kernels share apart from those each kernel creates.

Contract: call :func:`reserve_arenas` before any large import and :func:`fill_gaps` after the last one. Python's small
objects then lie in one contiguous piece of memory, which fits into huge pages, and not scattered between the libraries;
and that piece has no free block, so new objects of a kernel lie together in new memory and not in pages it would have
to copy first. Saves a tenth of a kernel's start time and memory. Relies on CPython's allocator (3.10 and later: blocks
of 16 to 512 bytes in arenas of up to 1 MiB); under another allocator it has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sandbox.guest.isolation.linux import allocated

ARENA_BYTES = 1 << 20
RESERVED_ARENAS = 64
"""More than IPython, pandas and matplotlib fill; :func:`fill_gaps` returns the rest."""
MAX_BLOCK_BYTES = 512
"""The largest block that comes from an arena."""
BLOCK_STEP = 16
BYTES_OVERHEAD = 33
"""Size of a ``bytes`` object beyond its content."""
MAX_FILLERS = 200_000
"""Limit of the filling; there are about 8,000 gaps."""
_kept: list[object] = []


def reserve_arenas() -> None:
    """Allocates adjacent arenas, each held by one object until :func:`fill_gaps`."""
    objects: list[object] = [None] * (RESERVED_ARENAS * ARENA_BYTES // MAX_BLOCK_BYTES)  # growing it would allocate
    for index in range(len(objects)):
        objects[index] = bytes(MAX_BLOCK_BYTES - BYTES_OVERHEAD)
    _kept.extend(objects[:: ARENA_BYTES // MAX_BLOCK_BYTES // 2])


def fill_gaps() -> None:
    """Returns the arenas that are not needed and fills every free block of the others."""
    _kept.clear()
    old = {block for begin, end in allocated() for block in range(begin // ARENA_BYTES, end // ARENA_BYTES + 1)}
    for make in _block_makers():
        while len(_kept) < MAX_FILLERS:
            _kept.append(filler := make())
            if id(filler) // ARENA_BYTES not in old:
                break


def _block_makers() -> Iterator[Callable[[], object]]:
    """Functions that create objects of one block each, largest first, because any size can use a large free block."""
    for size in range(MAX_BLOCK_BYTES, 2 * BLOCK_STEP, -BLOCK_STEP):
        yield partial(bytes, size - BYTES_OVERHEAD)
    yield partial(complex, 1, 1)
    yield object
