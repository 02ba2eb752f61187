"""Kills all descendants of this process.

Contract: :func:`kill_descendants` returns when no child is left; in a subreaper orphans become children, so it reaches
every generation, detached processes included. Costs about 2 ms a generation.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def kill_descendants() -> None:
    """Kills and reaps until no child is left."""
    while True:
        for child in _children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
