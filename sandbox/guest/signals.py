"""What a cell may leave behind in the process's signals, and how far it reaches.

Contract: handlers stay from cell to cell, as in Jupyter, except SIGINT's, which the kernel sets before each cell.
Between cells an exception that a handler raises is reported and dropped (:class:`CellHandlers`). Timers end with their
cell (:func:`stop_timers`), so that no later cell gets their signals, and the kernel does not die of one between cells.
Costs 5 µs per cell.
"""

from __future__ import annotations

import _signal  # signal's own functions make enum members of numbers and handlers, which is slow
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
"""``signal.alarm`` is the first of them."""
_ALL = frozenset(int(number) for number in signal.valid_signals())
_CATCHABLE = tuple(_ALL - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT})


class CellHandlers:
    """The signal handlers that cells have set. Between cells each runs inside one that reports what it raises."""

    def __init__(self) -> None:
        self._put_aside: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def put_aside(self) -> None:
        """After a cell. The handlers of signals that have arrived run first, and may raise."""
        with Blocked():
            for number in _CATCHABLE:
                handler = _signal.getsignal(number)
                if callable(handler) and number not in self._put_aside:
                    self._put_aside[number] = handler
                    _signal.signal(number, self._run_between_cells)

    def put_back(self) -> None:
        """Before a cell."""
        if self._put_aside:
            with Blocked():
                for number, handler in self._put_aside.items():
                    _signal.signal(number, handler)
                self._put_aside.clear()

    def _run_between_cells(self, number: int, frame: FrameType | None) -> None:
        try:
            self._put_aside[number](number, frame)
        except BaseException as error:
            report(error)


class Blocked:
    """Delays all signals of this thread inside its ``with`` block."""

    def __enter__(self) -> None:
        self._before = _signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)

    def __exit__(self, *_: object) -> None:
        _signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


def stop_timers() -> None:
    """Stops the timers that send signals, and faulthandler's, which may end the process."""
    for timer in TIMERS:
        signal.setitimer(timer, 0)
    faulthandler: Any = sys.modules.get("faulthandler")
    if faulthandler is not None:
        faulthandler.cancel_dump_traceback_later()


def report(error: BaseException) -> None:
    """Prints what a signal handler has raised between cells, as late output of the cell before."""
    with suppress(BaseException):
        last = traceback.format_exception_only(type(error), error)[-1].strip()
        sys.stderr.write(f"a signal handler raised between cells: {last}\n")
