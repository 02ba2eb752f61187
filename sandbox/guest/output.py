"""``sys.stdout`` and ``sys.stderr`` of a kernel, and raw output to file descriptors 1 and 2.

Contract: the first and last ``keep / 2`` characters of each stream of a cell reach the host, with a marker between them
that gives the number omitted; a cell that prints more than ``hard`` characters is stopped. What is not sent yet lies in
memory that the host can read (:mod:`sandbox.guest.cell_text`). Text of a thread or task belongs to the cell that
started it. After that cell's end it is sent at once as an output of that cell, see :mod:`sandbox.guest.late`.
Descriptors 1 and 2 are files whose growth is read back, in order, at the next write or at the end of the cell: this
needs no thread, and a flood ends at the file size limit.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures.thread import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import wraps
from typing import Any

from sandbox.guest.cell_text import CellText
from sandbox.guest.connection import SocketTransport
from sandbox.guest.late import LateText
from sandbox.guest.left_files import LeftFile, is_raw_file

MAX_PROMPT_SENDS = 500
"""The most messages a cell may send for text that is flushed at once."""
CELL: ContextVar[int] = ContextVar("cell", default=0)
"""The cell that started the current task or submitted the current job; not set in other threads."""
CELL_ATTRIBUTE = "_of_cell"
"""Attribute of a thread that has outlived its cell: that cell's number."""


class OutputLimit(BaseException):
    """Raised inside a cell that printed too much. A BaseException, so ``except Exception`` does not catch it."""


class Output(io.TextIOBase):
    """One of the two text streams."""

    def __init__(
        self, name: str, transport: SocketTransport, fd: int, text: CellText, late: LateText, hard: int
    ) -> None:
        self.name, self.hard = name, hard
        self._transport = transport
        self._fd = fd
        self._cell_text, self._late = text, late
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self.cell = 0
        self._left: list[LeftFile] = []
        self.begin(0, {})
        self._open = False

    encoding = "utf-8"

    def begin(self, cell: int, parent: dict[str, Any], followed: bool = False) -> None:
        """Starts a new cell with a full budget.

        ``followed``: a listener shows output live, so text is sent at once, up to ``MAX_PROMPT_SENDS`` messages.
        """
        self._late.begin(cell, parent)
        self.cell, self._parent = cell, parent
        self._cell_text.begin()
        self._text = ""
        self._followed, self._at_once = followed, MAX_PROMPT_SENDS
        self._open = True

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
        owner = self._owner()
        if owner == self.cell and self._open:
            if text != "\n":  # the end of a print, before which nothing was written
                self._drain()
            self._add(text)
        else:
            self._late.write(owner, text)
        return len(text)

    def use(self, text: CellText) -> None:
        """Switches to other memory."""
        text.raw_at, text.host_has_file = self._cell_text.raw_at, self._cell_text.host_has_file
        self._cell_text = text

    def adopt(self) -> None:
        """Continues in a forked kernel; raw output of the other process is dropped."""
        self._pid, self._lock = os.getpid(), threading.RLock()
        self._give_up_left()
        self._cell_text.raw_at = 0
        with suppress(OSError):  # see _drain
            if not os.fstat(self._fd).st_nlink:  # a file with a name is the cell's own
                os.ftruncate(self._fd, 0)
            self._cell_text.raw_at = os.lseek(self._fd, 0, os.SEEK_END)
        self._cell_text.update()
        self._late.adopt()

    def flush(self) -> None:
        """Sends the text printed so far; without it short text waits for more, or for the cell's end."""
        if self._pid == os.getpid():
            self._late.push()
            if self._text:
                self._send_at_once()

    def finish(self) -> None:
        """Ends the cell: sends raw output, then the tail that was held back."""
        self._drain(stop=False)
        self._read_left()
        with self._lock:
            self._open = False
            self._publish(self._cell_text.rest())
            self.push()

    def _owner(self) -> int:
        if threading.current_thread() is threading.main_thread():
            return CELL.get() or self.cell
        return CELL.get() or vars(threading.current_thread()).get(CELL_ATTRIBUTE, self.cell)

    def _read_raw(self) -> Iterator[str]:
        """Text written to the descriptor since the last call."""
        held = self._cell_text
        try:
            size = os.lseek(self._fd, 0, os.SEEK_END)
        except OSError:  # a cell closed it or replaced it by a pipe
            return
        if size == held.raw_at:
            return
        if size < held.raw_at:  # opened again as /dev/stdout, which empties it
            held.raw_at = 0
        while (room := size - held.raw_at) > 0:
            data = os.pread(self._fd, min(room, 1 << 20), held.raw_at)
            if not data:
                break
            held.raw_at += len(data)
            yield data.decode("utf-8", "replace")
        if held.raw_at > 1 << 20:  # frees the space; an appending writer continues at the new end
            os.ftruncate(self._fd, 0)
            held.raw_at = 0
        held.update()

    def _drain(self, stop: bool = True) -> None:
        for text in self._read_raw():
            self._add(text, stop)

    def set_apart(self, cell: int, new: int) -> None:
        """Leaves the raw file to the children of ``cell`` and continues with another one, ``new``."""
        held, kept = self._cell_text, os.dup(self._fd)
        os.dup2(new, self._fd)
        self._left.append(LeftFile(cell, kept, held.raw_at))
        held.raw_at, held.host_has_file = 0, False
        held.update()

    def rejoin(self) -> None:
        """Continues with the first raw file, as no child is left."""
        self.drain_late()
        held, (first, *others) = self._cell_text, self._left
        self._left = []
        with suppress(OSError):  # a cell closed the descriptor
            if is_raw_file(self._fd):
                os.dup2(first.fd, self._fd)
                held.raw_at, held.host_has_file = first.at, True
        for left in (first, *others):
            with suppress(OSError):
                os.close(left.fd)
        held.update()

    def _give_up_left(self) -> None:
        """Goes back to the first raw file in a forked kernel, whose children the other one has."""
        for number, left in enumerate(self._left):
            with suppress(OSError):
                if number == 0 and is_raw_file(self._fd):
                    os.dup2(left.fd, self._fd)
                os.close(left.fd)
        self._left, self._cell_text.host_has_file = [], True

    def _read_left(self) -> None:
        for left in self._left:
            for text in left.read():
                self._late.write(left.cell, text)

    def drain_late(self) -> None:
        """What children printed after their cell. Between two cells it may be any cell's without living children."""
        self._read_left()
        for text in self._read_raw():
            self._late.write(0, text)

    def _add(self, text: str, stop: bool = True) -> None:
        with self._lock:
            if now := self._cell_text.add(text):
                self._publish(now)
        if stop and self._cell_text.total > self.hard:
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


def patch_thread_pool() -> None:
    """Makes a thread pool's job belong to the cell that submits it, also in a thread of an earlier cell.

    Called once, in the fork server.
    """
    submit: Any = ThreadPoolExecutor.submit

    @wraps(submit)
    def submit_with_context(self: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return submit(self, copy_context().run, function, *args, **kwargs)

    ThreadPoolExecutor.submit = submit_with_context  # type: ignore[method-assign]
