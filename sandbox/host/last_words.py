"""What a dead kernel had printed and no message carries.

Contract: :func:`add_last_words` is called once the process has ended. It reads what is left on the connection, then the
memory the kernel shared with the host (:mod:`sandbox.guest.cell_text`), then what the cell's children wrote to
descriptors 1 and 2, and completes the streams of the result. What it cannot find is counted or named in
:attr:`sandbox.CellResult.missing`. The kernel could write anything there, as it could in its messages, so sizes are
bounded and nothing but text is taken. Costs nothing before a death.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from sandbox.guest.cell_text import NOT_KNOWN, STREAMS, Found, head_and_tail, marker, read_cell, region_bytes
from sandbox.guest.terminal import without_overwritten
from sandbox.host.connection import PendingExecution
from sandbox.host.process import Process

STOCK = "stock ipykernel sends its output every 0.2 s; what it printed last before it died may be missing"
NO_FILES = "what child processes and C code wrote last before the kernel died may be missing"
DISAGREES = "the kernel's messages and its memory disagree; text that it printed before it died may be missing"


def add_last_words(pending: PendingExecution, process: Process, drain: Callable[[], None], keep: int) -> None:
    """Completes the streams of ``pending``. ``drain`` reads what is left on the connection."""
    drain()
    if process.endpoints is not None:
        pending.missing, pending.missing_chars = STOCK, None
        return
    memory = os.pread(process.memory, region_bytes(keep), 0) if process.memory >= 0 else b""
    if len(memory) < region_bytes(keep):
        pending.missing, pending.missing_chars = DISAGREES, None
        return
    for name, found, fd in zip(STREAMS, read_cell(memory, keep, pending.msg_id), process.raw_output, strict=False):
        if found.raw_at == NOT_KNOWN:
            fd = -1
        if fd < 0:
            pending.missing, pending.missing_chars = NO_FILES, None
        received = "".join(pending.text[name])
        head, rest = _complete(found, fd, keep)
        if head.startswith(received):
            if text := head[len(received) :] + rest:
                pending.add_text(name, text)
        elif len(received) <= len(head):
            pending.missing, pending.missing_chars = DISAGREES, None


def _complete(found: Found, fd: int, keep: int) -> tuple[str, str]:
    """The first characters of a stream, and what follows them."""
    head_chars, tail_chars = head_and_tail(keep)
    head, omitted = found.head, found.omitted
    first, skipped, last = _unread(fd, found.raw_at, 4 * keep)
    room = head_chars - len(head) if found.total == len(found.head) else 0
    head += first[:room]
    after = found.tail + first[room:]
    if skipped:
        omitted, after = omitted + len(after) + skipped, ""
    after = without_overwritten(after + last)
    omitted += max(0, len(after) - tail_chars)
    return head, (marker(omitted) if omitted else "") + after[-tail_chars:]


def _unread(fd: int, start: int, most: int) -> tuple[str, int, str]:
    """What was written to a raw file and not read: the first bytes, how many are skipped, and the last."""
    seen = os.fstat(fd) if fd >= 0 else None
    if seen is None or not stat.S_ISREG(seen.st_mode) or seen.st_size <= start:
        return "", 0, ""
    first = os.pread(fd, most, start)
    rest = seen.st_size - start - len(first)
    last = os.pread(fd, min(rest, most), seen.st_size - min(rest, most)) if rest > 0 else b""
    return first.decode("utf-8", "replace"), rest - len(last), last.decode("utf-8", "replace")
