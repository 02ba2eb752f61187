"""How a cell ends: by itself, at its time, or with its process.

Contract: :func:`end_of` returns at most ``timeout_s`` and the grace of an interrupt after it was called (half a second
later when the kernel closes its connection and lives on), whatever the cell does, and says whether the process can go
on.
:func:`result_of` puts what came back into words.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from sandbox.host.connection import Cell, plain
from sandbox.host.process import Process
from sandbox.result import CellResult, Status

HANGING_UP_S, HANGING_UP_LATE_S = 3.0, 0.5
"""From the end of a connection to that of its process: within the cell's time, and after it."""


async def end_of(
    cell: Cell, process: Process, stop: asyncio.Future[None], timeout_s: float, grace_s: float, memory_kills: int
) -> tuple[Status, bool]:
    """Waits for the cell, interrupts it at its time or at ``stop``; the status, and whether the process can go on.

    ``memory_kills``: what :meth:`Process.memory_kills` said before the cell.
    """
    until = time.monotonic() + timeout_s
    ends: set[asyncio.Future[Any]] = {cell.done, process.exited}
    await asyncio.wait({*ends, stop}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    late = not cell.done.done() and not process.exited.done()
    if late:
        await _interrupt(process, ends, grace_s)
    if cell.fault is None and cell.replied:
        return _status_of(cell, late and not stop.done()), True
    if not cell.done.done() and not process.exited.done():
        return "timeout_killed", False
    if cell.fault is not None:
        return "output_limit" if cell.fault == "output_limit" else "protocol_violation", False
    left_s = max(HANGING_UP_LATE_S, until - time.monotonic())
    await asyncio.wait({process.exited}, timeout=min(HANGING_UP_S, left_s))
    if not process.exited.done():
        return "protocol_violation", False
    starved = process.reason == "out_of_memory" or process.memory_kills() > memory_kills
    if process.reason not in (None, "out_of_memory"):
        cell.text["stderr"].append(f"the kernel was ended: {process.reason}\n")
    return "out_of_memory" if starved else "timeout_killed" if late else "died", False


def result_of(cell: Cell, keep: int, **known: Any) -> CellResult:
    """The result; ``keep``: characters of each text, ``known``: the fields that are not the cell's own."""
    name, value, traceback = cell.error or (None, None, "")
    return CellResult(
        stdout=plain("".join(cell.text["stdout"]), keep),
        stderr=plain("".join(cell.text["stderr"]), keep),
        value=cell.value,
        error_name=name,
        error_value=value,
        traceback=traceback,
        outputs=tuple(cell.outputs),
        received_bytes=cell.received,
        **known,
    )


async def _interrupt(process: Process, ends: set[asyncio.Future[Any]], grace_s: float) -> None:
    """SIGINT, and once more: the first may come before the cell has begun, or be swallowed by it."""
    for _ in range(2):
        process.signal(signal.SIGINT)
        done, _ = await asyncio.wait(ends, timeout=grace_s / 2, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return


def _status_of(cell: Cell, late: bool) -> Status:
    if late:
        return "timeout_interrupted"
    if cell.error is None:
        return "ok"
    return "output_limit" if cell.error[0] == "OutputLimit" else "error"
