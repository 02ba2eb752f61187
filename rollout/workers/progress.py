"""Progress of long work: a bar with rate and remaining time on a terminal, a line every 15 s in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_EVERY_S = 15.0


class Advance(Protocol):
    """Call it once for each finished item, with a note for the display."""

    def __call__(self, note: str = "") -> None: ...


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Shows the progress of ``total`` items.

    Args:
        title: name of the work.
        total: number of items; 0 shows nothing.
    """
    if total == 0:
        yield lambda note="": None
    elif sys.stderr.isatty():
        with _bar(title, total) as advance:
            yield advance
    else:
        yield _log_lines(title, total)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(title, total=total, rate="", note="")

        def advance(note: str = "") -> None:
            done = bars.tasks[0].completed + 1
            bars.update(bar, advance=1, note=note, rate=f"{done / (time.monotonic() - started):.1f}/s")

        yield advance


def _log_lines(title: str, total: int) -> Advance:
    started = time.monotonic()
    done, last = 0, started

    def advance(note: str = "") -> None:
        nonlocal done, last
        done += 1
        now = time.monotonic()
        if done == total or now - last >= LOG_EVERY_S:
            last = now
            rate = done / (now - started)
            left = (total - done) / rate
            print(
                f"{title}: {done}/{total}, {rate:.1f}/s, {left:.0f} s left {note}".rstrip(), file=sys.stderr, flush=True
            )

    return advance
