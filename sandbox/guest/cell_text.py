"""What the running cell has printed, in memory that the host can read after the kernel's death.

Contract: a :class:`CellText` holds one stream of one cell: its first characters (the head), and a log of what followed,
from which its last characters (the tail) are made. The head is published while the cell runs, the tail at its end, so
a kernel that dies has text that no message carries; the host finds it here. Text that a carriage return has overwritten
takes no room in the tail. Memory is a fixed region per stream, shared with the host and with no other process. Costs
no system call: a ``print`` copies its text and updates five numbers.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from dataclasses import dataclass

from sandbox.guest.terminal import without_overwritten

_LIBC = ctypes.CDLL(None, use_errno=True)  # here, because what the fork server has made is not made by each kernel
_MMAP, _AS_MEMORY = _LIBC.mmap, ctypes.pythonapi.PyMemoryView_FromMemory
_MMAP.restype = ctypes.c_void_p
_MMAP.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_AS_MEMORY.restype = ctypes.py_object
_AS_MEMORY.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_WRITABLE, _FAILED = 0x200, ctypes.c_void_p(-1).value
_NUMBERS = struct.Struct("<3QqQ")
_CELL = struct.Struct("<40s")
_SLOT_BITS = 40
_LOG_SLACK = 4096
STREAMS = ("stdout", "stderr")
NOT_KNOWN = (1 << 64) - 1
"""In place of a position: the host does not have the file."""


def marker(omitted: int) -> str:
    """The text shown in place of omitted characters."""
    return f"\n... {omitted:,} characters omitted ...\n"


def head_and_tail(keep: int) -> tuple[int, int]:
    """How many characters of a text are kept at its start and at its end."""
    return keep - keep // 2, keep // 2


def shorten(text: str, keep: int) -> str:
    """``text``, or if it is longer than ``keep`` its head and tail of ``keep`` characters with a marker between."""
    if len(text) <= keep:
        return text
    head, tail = head_and_tail(keep)
    return text[:head] + marker(len(text) - keep) + (text[-tail:] if tail else "")


@dataclass(frozen=True)
class Found:
    """One stream of a cell, as read from memory."""

    head: str
    tail: str
    total: int
    """Characters printed, those of ``head`` and ``tail`` included."""
    overwritten: int
    """Characters that a carriage return had overwritten when the tail was full."""
    raw_at: int
    """How far the file behind the descriptor was read, or ``NOT_KNOWN``."""

    @property
    def omitted(self) -> int:
        """Characters that are neither in head nor tail, nor overwritten."""
        return max(0, self.total - len(self.head) - len(self.tail) - self.overwritten)


def region_bytes(keep: int) -> int:
    """Size of the memory of both streams."""
    return _CELL.size + len(STREAMS) * _stream_bytes(keep)


def _stream_bytes(keep: int) -> int:
    head, tail = head_and_tail(keep)
    return _NUMBERS.size + 4 * head + 2 * _slot_bytes(tail)


def _slot_bytes(tail: int) -> int:
    return 8 * tail + _LOG_SLACK


def map_region(fd: int, keep: int) -> memoryview:
    """Maps the memory behind ``fd``, shared, and closes ``fd``. Python's own mapping would keep a descriptor open."""
    size = region_bytes(keep)
    address = _MMAP(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    if address in (None, _FAILED):
        raise OSError(ctypes.get_errno(), "mmap of the output's memory")
    memory: memoryview = _AS_MEMORY(address, size, _WRITABLE)
    return memory


def begin_cell(memory: memoryview, name: str) -> None:
    """Notes which cell the memory belongs to."""
    _CELL.pack_into(memory, 0, name.encode("utf-8", "replace"))


class CellText:
    """One stream of the running cell, in the kernel."""

    def __init__(self, memory: memoryview, keep: int, stream: int) -> None:
        self.head_chars, self.tail_chars = head_and_tail(keep)
        start = _CELL.size + stream * _stream_bytes(keep)
        self._memory = memory[start : start + _stream_bytes(keep)]
        self._slot_bytes = _slot_bytes(self.tail_chars)
        self._slots_at = _NUMBERS.size + 4 * self.head_chars
        self.raw_at, self.host_has_file = 0, True
        self.begin()

    def begin(self) -> None:
        """Starts a new cell."""
        self.total = self.sent = 0
        self._head_bytes = self._slot = self._log_bytes = self._overwritten = 0
        self.update()

    def update(self) -> None:
        """Makes the numbers visible to the host."""
        _NUMBERS.pack_into(
            self._memory,
            0,
            self.total,
            self._head_bytes,
            self._slot << _SLOT_BITS | self._log_bytes,
            self._overwritten,
            self.raw_at if self.host_has_file else NOT_KNOWN,
        )

    def add(self, text: str) -> str:
        """Takes printed text; returns the part to publish now, the rest is held for the tail."""
        self.total += len(text)
        now = ""
        if self.sent < self.head_chars:
            room = self.head_chars - self.sent
            now, text = text[:room], text[room:]
            data = now.encode("utf-8", "surrogatepass")
            start = _NUMBERS.size + self._head_bytes
            self._memory[start : start + len(data)] = data
            self._head_bytes += len(data)
            self.sent += len(now)
        if text:
            self._hold(text)
        self.update()
        return now

    def rest(self) -> str:
        """What to publish at the cell's end: the tail, after a marker if characters are missing between."""
        if self.total == self.sent:
            return ""
        tail, overwritten = self._tail()
        omitted = self.total - self.sent - len(tail) - overwritten
        return (marker(omitted) if omitted > 0 else "") + tail

    def _hold(self, text: str) -> None:
        data = text[-self.tail_chars :].encode("utf-8", "surrogatepass")
        if self._log_bytes + len(data) > self._slot_bytes:
            tail, self._overwritten = self._tail()
            kept, other = tail.encode("utf-8", "surrogatepass"), 1 - self._slot
            self._write(other, 0, kept)
            self._slot, self._log_bytes = other, len(kept)
        self._write(self._slot, self._log_bytes, data)
        self._log_bytes += len(data)

    def _tail(self) -> tuple[str, int]:
        """The last characters so far, and how many were overwritten since the cell began."""
        start = self._slots_at + self._slot * self._slot_bytes
        log = bytes(self._memory[start : start + self._log_bytes]).decode("utf-8", "surrogatepass")
        shorter = without_overwritten(log)
        return shorter[-self.tail_chars :], self._overwritten + len(log) - len(shorter)

    def _write(self, slot: int, at: int, data: bytes) -> None:
        start = self._slots_at + slot * self._slot_bytes + at
        self._memory[start : start + len(data)] = data


def read_cell(memory: bytes, keep: int, name: str) -> list[Found]:
    """Both streams, read by the host; nothing if the memory holds another cell. Its content is not trusted."""
    if _CELL.unpack_from(memory)[0].rstrip(b"\0") != name.encode("utf-8", "replace"):
        return []
    found = []
    head_chars, tail_chars = head_and_tail(keep)
    for number in range(len(STREAMS)):
        start = _CELL.size + number * _stream_bytes(keep)
        part = memory[start : start + _stream_bytes(keep)]
        total, head_bytes, log, overwritten, raw_at = _NUMBERS.unpack_from(part)
        head = _decode(part[_NUMBERS.size :][: min(head_bytes, 4 * head_chars)])[:head_chars]
        slots_at, slot = _NUMBERS.size + 4 * head_chars, log >> _SLOT_BITS & 1
        size = min(log & (1 << _SLOT_BITS) - 1, _slot_bytes(tail_chars))
        logged = _decode(part[slots_at + slot * _slot_bytes(tail_chars) :][:size])
        shorter = without_overwritten(logged)
        overwritten += len(logged) - len(shorter)
        found.append(Found(head, shorter[-tail_chars:], total, overwritten, raw_at))
    return found


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")
