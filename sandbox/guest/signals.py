"""What a cell may leave behind in the process's signals, and how far it reaches.

Contract: handlers stay from cell to cell, as in Jupyter, except SIGINT's, which the kernel sets before each cell.
Timers end with their cell (:func:`stop_timers`), so that no later cell gets their signals, and the kernel does not die
of one between cells. An exception that a handler raises between cells is reported and dropped. Costs three system calls
per cell, 0.5 µs together; waiting for the next request costs one more.
"""

from __future__ import annotations

import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
"""``signal.alarm`` is the first of them."""


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
