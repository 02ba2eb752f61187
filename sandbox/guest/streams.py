"""sys.stdout and sys.stderr of a kernel, and what reaches file descriptors 1 and 2 without passing through them.

Contract: of each stream a cell's first and last ``keep / 2`` characters reach the host, a marker between them says how
many are missing; a cell that prints more than ``hard`` characters is stopped. Text of a thread or task goes to the cell
that started it, also after that cell has ended. Descriptors 1 and 2 are files whose growth is read back, in order, at
the next write or at the end of the cell: no thread, and a flood ends at the file size limit.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from concurrent.futures.thread import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import wraps
from typing import Any

from sandbox.guest.connection import SocketPort

AT_ONCE = 500
"""Pieces of text a cell may have sent without waiting for more."""
CELL: ContextVar[int] = ContextVar("cell", default=0)
"""The cell that started a task or handed in a job; a thread of its own has none."""
OF_CELL = "_of_cell"
"""The attribute of a thread that has outlived its cell."""


class OutputLimit(BaseException):
    """Raised inside a cell that printed more than it may. No Exception, so ``except Exception`` does not hold it."""


def marker(omitted: int) -> str:
    """What stands in the place of text that was left out."""
    return f"\n... {omitted:,} characters omitted ...\n"


def shorten(text: str, keep: int) -> str:
    """Head and tail of ``text``, together ``keep`` characters, with the marker between them when some are missing."""
    if len(text) <= keep:
        return text
    tail = keep // 2
    head = keep - tail
    return text[:head] + marker(len(text) - keep) + (text[-tail:] if tail else "")


class Output(io.TextIOBase):
    """One of the two text streams."""

    def __init__(self, name: str, port: SocketPort, fd: int, keep: int, hard: int) -> None:
        self.name = name
        self.keep, self.hard = keep, hard
        self._port = port
        self._fd = fd
        self._raw_at = 0
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self.cell = 0
        self.begin(0, {})

    encoding = "utf-8"

    def begin(self, cell: int, parent: dict[str, Any], followed: bool = False) -> None:
        """A new cell: the budget starts anew.

        ``followed``: somebody watches it, so what it prints is sent at once, if it is not printed in too many pieces.
        """
        self.cell, self._parent = cell, parent
        self._sent = self._total = 0
        self._tail = self._text = ""
        self._followed, self._at_once = followed, AT_ONCE

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._fd

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if os.getpid() != self._pid:  # a forked child has no connection of its own: its text goes the raw way
            os.write(self._fd, text.encode("utf-8", "backslashreplace"))
            return len(text)
        if self._owner() == self.cell:
            self._drain()
            self._add(text)
        return len(text)

    def adopt(self) -> None:
        """Goes on in a forked kernel; what the other process has written the raw way is dropped."""
        self._raw_at, self._pid, self._lock = 0, os.getpid(), threading.RLock()
        with suppress(OSError):  # see _drain
            if not os.fstat(self._fd).st_nlink:  # a file with a name is the cell's own
                os.ftruncate(self._fd, 0)
            self._raw_at = os.lseek(self._fd, 0, os.SEEK_END)

    def flush(self) -> None:
        """Sends what a cell has printed so far; without it short text waits for more, or for the cell's end."""
        if self._text and self._pid == os.getpid():
            self._send_at_once()

    def finish(self) -> None:
        """End of the cell: raw output, then what was held back."""
        self._drain(stop=False)
        with self._lock:
            if self._tail:
                omitted = self._total - self._sent - len(self._tail)
                self._publish((marker(omitted) if omitted else "") + self._tail)
                self._tail = ""
            self.push()

    def _owner(self) -> int:
        if threading.current_thread() is threading.main_thread():
            return CELL.get() or self.cell
        return CELL.get() or vars(threading.current_thread()).get(OF_CELL, self.cell)

    def _drain(self, stop: bool = True) -> None:
        try:
            size = os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:  # a cell closed it, or put a pipe in its place: its loss
            return
        if size == self._raw_at:
            return
        while (room := size - self._raw_at) > 0:
            data = os.pread(self._fd, min(room, 1 << 20), self._raw_at)
            if not data:
                break
            self._raw_at += len(data)
            self._add(data.decode("utf-8", "replace"), stop)
        if self._raw_at > 1 << 20:  # give the space back; an appending writer goes on at the new end
            os.ftruncate(self._fd, 0)
            self._raw_at = 0

    def _add(self, text: str, stop: bool = True) -> None:
        with self._lock:
            self._total += len(text)
            head = self.keep - self.keep // 2
            if self._sent < head:
                now, text = text[: head - self._sent], text[head - self._sent :]
                self._sent += len(now)
                self._publish(now)
            if text:
                self._tail = (self._tail + text)[-(self.keep // 2) :] if self.keep > 1 else ""
        if stop and self._total > self.hard:
            raise OutputLimit(f"the cell printed more than {self.hard:,} characters")

    def push(self) -> None:
        """Hands the text gathered so far to the connection: many small writes make one message."""
        with self._lock:
            text, self._text = self._text, ""
            if text:
                self._port.publish("stream", {"name": self.name, "text": text}, self._parent)

    def _publish(self, text: str) -> None:
        self._text += text
        if len(self._text) > 8192 or self._port.stale():
            self.push()
        elif self._followed:
            self._send_at_once()

    def _send_at_once(self) -> None:
        """A message a piece, within reason: each has a header that counts against what the cell may send."""
        self._at_once -= 1
        if self._at_once >= 0:
            self.push()
            self._port.flush()


def leave_behind(cell: int) -> None:
    """Threads that are alive when ``cell`` is over keep belonging to it."""
    if threading.active_count() > 1:
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                vars(thread).setdefault(OF_CELL, cell)  # at the thread itself: its number is given away again


def renew_raw() -> None:
    """Puts empty, unlinked, appending files of the current folder's file system, which is empty, behind 1 and 2."""
    for fd in (1, 2):
        raw = os.open(".raw", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(".raw")  # noqa: PTH108
        os.dup2(raw, fd)
        os.close(raw)


def capture(port: SocketPort, keep: int, hard: int) -> tuple[Output, Output]:
    """Puts both streams and both descriptors in place."""
    renew_raw()
    outputs = Output("stdout", port, 1, keep, hard), Output("stderr", port, 2, keep, hard)
    sys.stdout, sys.stderr = outputs
    sys.__stdout__, sys.__stderr__ = outputs  # type: ignore[assignment, misc]
    return outputs


def give_jobs_their_cell() -> None:
    """Once in the fork server: a job belongs to the cell that hands it in, also if a thread of an earlier cell does."""
    submit: Any = ThreadPoolExecutor.submit

    @wraps(submit)
    def submit_with_context(self: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return submit(self, copy_context().run, function, *args, **kwargs)

    ThreadPoolExecutor.submit = submit_with_context  # type: ignore[method-assign]
