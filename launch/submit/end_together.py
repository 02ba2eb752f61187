"""Ends all training processes of this machine when one of them was killed.

Why: torchrun's agent then sends SIGTERM to the others and SIGKILL after 30 seconds. Until then they wait, in a
collective or for the rendezvous, for a process that does not exist any more. A process that ends by itself, with any
exit code, is left to the agent. Cost: one thread a process, and a look at the list of processes five times a second
until all have started.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

LOOK_EVERY_S = 0.2
PATIENCE_S = 2.0
"""Time in which the others may report the lost connection themselves."""


@contextmanager
def end_together(count: int) -> Iterator[None]:
    """Watches the next ``count`` child processes that start within the block."""
    others, over = set(psutil.Process().children()), threading.Event()
    watching = threading.Thread(target=_watch, args=(count, others, over), daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _watch(count: int, others: set[psutil.Process], over: threading.Event) -> None:
    """Waits for all processes to start, and starts a thread for each."""
    found: set[psutil.Process] = set()
    while len(found) < count and not over.wait(LOOK_EVERY_S):
        for child in set(psutil.Process().children()) - others - found:
            found.add(child)
            threading.Thread(target=_wait, args=(child, found, over), daemon=True).start()


def _wait(child: psutil.Process, all_of_them: set[psutil.Process], over: threading.Event) -> None:
    try:
        ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:  # the agent has collected it already
        return
    if ended is None or ended.si_code == os.CLD_EXITED:
        return
    over.wait(PATIENCE_S)
    for process in list(all_of_them):
        if process != child and process.is_running():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # each leads a group of its own
