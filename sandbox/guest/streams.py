"""Both streams of a kernel: their memory, their raw files, and what they do at the begin and the end of a cell.

Contract: :func:`capture` installs ``sys.stdout`` and ``sys.stderr`` (:mod:`sandbox.guest.output`) and descriptors 1 and
2. Forks of the kernel call :meth:`Streams.use` and :meth:`Streams.adopt`.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import Any

from sandbox.guest.cell_text import STREAMS, CellText, begin_cell, map_region, region_bytes
from sandbox.guest.connection import SocketTransport
from sandbox.guest.late import LateText
from sandbox.guest.left_files import MOST, is_raw_file, living_children
from sandbox.guest.output import Output, OutputLimit


def open_raw_files() -> None:
    """Opens empty, unlinked files for appending, on the file system of the (empty) current folder, as 1 and 2."""
    for fd in (1, 2):
        raw = _open_raw_file(".raw")
        os.dup2(raw, fd)
        os.close(raw)


def _open_raw_file(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)  # noqa: PTH108
    return fd


class Streams:
    """Both streams and the memory they share with the host."""

    def __init__(
        self, transport: SocketTransport, memory: int, keep: int, hard: int, fds: tuple[int, int] = (1, 2)
    ) -> None:
        """``memory``: descriptor of the host's memory, or -1 where no host reads it."""
        self._keep, self._memory = keep, _memory(memory, keep)
        self._home, self._children, self._apart = os.getcwd(), frozenset[int](), 0  # noqa: PTH109
        self._writers = False
        """Whether children that could write to the files are alive between two cells."""
        self.both = tuple(
            Output(name, transport, fd, CellText(self._memory, keep, number), LateText(name, transport, keep), hard)
            for number, (name, fd) in enumerate(zip(STREAMS, fds, strict=True))
        )

    def begin(self, cell: int, parent: dict[str, Any], followed: bool) -> None:
        """Starts a new cell."""
        begin_cell(self._memory, "")
        if self._writers or threading.active_count() > 1:  # else nothing could write to the files since the last cell
            for stream in self.both:
                stream.drain_late()
        for stream in self.both:
            stream.begin(cell, parent, followed)
        begin_cell(self._memory, str(parent.get("msg_id", "")))
        sys.stdout, sys.stderr = self.both

    def finish(self) -> None:
        """Ends the cell."""
        for stream in self.both:
            with suppress(OutputLimit):
                stream.finish()

    def keep_children_apart(self, cell: int, known: set[int]) -> None:
        """At the end of ``cell``: gives the next one other raw files if children live on. ``known``: other kernels."""
        living = living_children(known)
        self._writers = living is None or bool(living)
        if living is not None and not living:
            self._children = living
            if self._apart:
                self._apart = 0
                for stream in self.both:
                    stream.rejoin()
            return
        new = not known if living is None else bool(living - self._children)
        self._children = self._children if living is None else living
        if new and self._apart < MOST and all(is_raw_file(stream.fileno()) for stream in self.both):
            with suppress(OSError):  # no room for files, or no descriptor left
                self._set_apart(cell)

    def _set_apart(self, cell: int) -> None:
        self._apart += 1
        for stream in self.both:
            new = _open_raw_file(f"{self._home}/.raw")
            try:
                stream.set_apart(cell, new)
            finally:
                os.close(new)

    def use(self, memory: int) -> None:
        """Leaves the memory of the kernel this one was forked from."""
        self._memory = _memory(memory, self._keep)
        for number, stream in enumerate(self.both):
            stream.use(CellText(self._memory, self._keep, number))

    def adopt(self) -> None:
        """Continues in a forked kernel with the current files of descriptors 1 and 2."""
        self._home, self._children, self._apart = os.getcwd(), frozenset(), 0  # noqa: PTH109
        self._writers = False
        for stream in self.both:
            stream.adopt()


def _memory(fd: int, keep: int) -> memoryview:
    return map_region(fd, keep) if fd >= 0 else memoryview(bytearray(region_bytes(keep)))


def capture(transport: SocketTransport, memory: int, keep: int, hard: int) -> Streams:
    """Installs both streams and both descriptors."""
    open_raw_files()
    streams = Streams(transport, memory, keep, hard)
    sys.stdout, sys.stderr = streams.both
    sys.__stdout__, sys.__stderr__ = streams.both  # type: ignore[assignment, misc]
    return streams
