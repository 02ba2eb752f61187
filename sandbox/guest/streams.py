"""``sys.stdout`` and ``sys.stderr`` of a kernel, and raw output to file descriptors 1 and 2.

Contract: the first and last ``keep / 2`` characters of each stream of a cell reach the host, with a marker between them
that gives the number omitted; a cell that prints more than ``hard`` characters is stopped. Text of a thread or task
belongs to the cell that started it, also after that cell has ended. Descriptors 1 and 2 are files whose growth is read
back, in order, at the next write or at the end of the cell: this needs no thread, and a flood ends at the file size
limit.
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

from sandbox.guest.connection import SocketTransport

MAX_PROMPT_SENDS = 500
"""The most messages a cell may send for text that is flushed at once."""
CELL: ContextVar[int] = ContextVar("cell", default=0)
"""The cell that started the current task or submitted the current job; not set in other threads."""
CELL_ATTRIBUTE = "_of_cell"
"""Attribute of a thread that has outlived its cell: that cell's number."""


class OutputLimit(BaseException):
    """Raised inside a cell that printed too much. A BaseException, so ``except Exception`` does not catch it."""


def marker(omitted: int) -> str:
    """The text shown in place of omitted characters."""
    return f"\n... {omitted:,} characters omitted ...\n"


def shorten(text: str, keep: int) -> str:
    """``text``, or if it is longer than ``keep`` its head and tail of ``keep`` characters with a marker between."""
    if len(text) <= keep:
        return text
    tail = keep // 2
    head = keep - tail
    return text[:head] + marker(len(text) - keep) + (text[-tail:] if tail else "")


class Output(io.TextIOBase):
    """One of the two text streams."""

    def __init__(self, name: str, transport: SocketTransport, fd: int, keep: int, hard: int) -> None:
        self.name = name
        self.keep, self.hard = keep, hard
        self._transport = transport
        self._fd = fd
        self._raw_at = 0
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self.cell = 0
        self.begin(0, {})

    encoding = "utf-8"

    def begin(self, cell: int, parent: dict[str, Any], followed: bool = False) -> None:
        """Starts a new cell with a full budget.

        ``followed``: a listener shows output live, so text is sent at once, up to ``MAX_PROMPT_SENDS`` messages.
        """
        self.cell, self._parent = cell, parent
        self._sent = self._total = 0
        self._tail = self._text = ""
        self._followed, self._at_once = followed, MAX_PROMPT_SENDS

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._fd

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if os.getpid() != self._pid:  # a forked child does not own the connection: its text is raw output
            os.write(self._fd, text.encode("utf-8", "backslashreplace"))
            return len(text)
        if self._owner() == self.cell:
            self._drain()
            self._add(text)
        return len(text)

    def adopt(self) -> None:
        """Continues in a forked kernel; raw output of the other process is dropped."""
        self._raw_at, self._pid, self._lock = 0, os.getpid(), threading.RLock()
        with suppress(OSError):  # see _drain
            if not os.fstat(self._fd).st_nlink:  # a file with a name is the cell's own
                os.ftruncate(self._fd, 0)
            self._raw_at = os.lseek(self._fd, 0, os.SEEK_END)

    def flush(self) -> None:
        """Sends the text printed so far; without it short text waits for more, or for the cell's end."""
        if self._text and self._pid == os.getpid():
            self._send_at_once()

    def finish(self) -> None:
        """Ends the cell: sends raw output, then the tail that was held back."""
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
        return CELL.get() or vars(threading.current_thread()).get(CELL_ATTRIBUTE, self.cell)

    def _drain(self, stop: bool = True) -> None:
        try:
            size = os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:  # a cell closed it or replaced it by a pipe
            return
        if size == self._raw_at:
            return
        while (room := size - self._raw_at) > 0:
            data = os.pread(self._fd, min(room, 1 << 20), self._raw_at)
            if not data:
                break
            self._raw_at += len(data)
            self._add(data.decode("utf-8", "replace"), stop)
        if self._raw_at > 1 << 20:  # frees the space; an appending writer continues at the new end
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
        """Publishes the text gathered so far, so that many small writes become one message."""
        with self._lock:
            text, self._text = self._text, ""
            if text:
                self._transport.publish("stream", {"name": self.name, "text": text}, self._parent)

    def _publish(self, text: str) -> None:
        self._text += text
        if len(self._text) > 8192 or self._transport.stale():
            self.push()
        elif self._followed:
            self._send_at_once()

    def _send_at_once(self) -> None:
        """Sends a message at once while the cell may; headers count against the bytes the host reads of a cell."""
        self._at_once -= 1
        if self._at_once >= 0:
            self.push()
            self._transport.flush()


def tag_threads(cell: int) -> None:
    """Marks the threads that are alive at the end of ``cell`` as belonging to it."""
    if threading.active_count() > 1:
        for thread in threading.enumerate():
            if thread is not threading.main_thread():
                vars(thread).setdefault(CELL_ATTRIBUTE, cell)  # on the object, because thread ids are reused


def open_raw_files() -> None:
    """Opens empty, unlinked files for appending, on the file system of the (empty) current folder, as 1 and 2."""
    for fd in (1, 2):
        raw = os.open(".raw", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(".raw")  # noqa: PTH108
        os.dup2(raw, fd)
        os.close(raw)


def capture(transport: SocketTransport, keep: int, hard: int) -> tuple[Output, Output]:
    """Installs both streams and both descriptors."""
    open_raw_files()
    outputs = Output("stdout", transport, 1, keep, hard), Output("stderr", transport, 2, keep, hard)
    sys.stdout, sys.stderr = outputs
    sys.__stdout__, sys.__stderr__ = outputs  # type: ignore[assignment, misc]
    return outputs


def patch_thread_pool() -> None:
    """Makes a thread pool's job belong to the cell that submits it, also in a thread of an earlier cell.

    Called once, in the fork server.
    """
    submit: Any = ThreadPoolExecutor.submit

    @wraps(submit)
    def submit_with_context(self: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return submit(self, copy_context().run, function, *args, **kwargs)

    ThreadPoolExecutor.submit = submit_with_context  # type: ignore[method-assign]
