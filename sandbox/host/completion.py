"""How a cell ends: by itself, at its time limit, or with its process.

Contract: :func:`wait_for_completion` returns within ``timeout_s`` plus the grace of an interrupt (half a second more
when the kernel closes its connection and lives on) and reports whether the process can go on.
:func:`build_result` turns what came back into a :class:`CellResult`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from sandbox.host.connection import PendingExecution
from sandbox.host.interrupt import interrupt, kill_commands, now
from sandbox.host.plain import plain
from sandbox.host.process import Process
from sandbox.result import CellResult, Status

DISCONNECTED_S, DISCONNECTED_LATE_S = 3.0, 0.5
"""How long a process may outlive its connection: within the cell's time, and after it."""


async def wait_for_completion(
    pending: PendingExecution,
    process: Process,
    stop: asyncio.Future[None],
    timeout_s: float,
    grace_s: float,
    memory_kills: int,
) -> tuple[Status, bool]:
    """Waits for the cell and interrupts it at its time limit or when ``stop`` is done.

    ``memory_kills``: :meth:`Process.memory_kills` before the cell. Returns the status, and whether the process can go
    on.
    """
    deadline, began = time.monotonic() + timeout_s, now()
    ends: set[asyncio.Future[Any]] = {pending.done, process.exited}
    await asyncio.wait({*ends, stop}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    late = not pending.done.done() and not process.exited.done()
    if late:
        await _interrupt(process, ends, grace_s, began)
    if pending.fault is None and pending.replied:
        return _reply_status(pending, late and not stop.done()), True
    if not pending.done.done() and not process.exited.done():
        return "timeout_killed", False
    if pending.fault is not None:
        return "output_limit" if pending.fault == "output_limit" else "protocol_violation", False
    left_s = max(DISCONNECTED_LATE_S, deadline - time.monotonic())
    await asyncio.wait({process.exited}, timeout=min(DISCONNECTED_S, left_s))
    if not process.exited.done():
        return "protocol_violation", False
    out_of_memory = process.reason == "out_of_memory" or process.memory_kills() > memory_kills
    if process.reason not in (None, "out_of_memory"):
        pending.notes.append(f"the kernel was ended: {process.reason}\n")
    return "out_of_memory" if out_of_memory else "timeout_killed" if late else "died", False


def build_result(pending: PendingExecution, output_chars: int, **fields: Any) -> CellResult:
    """The cell's result. ``output_chars``: limit of each text; ``fields``: the fields the kernel does not send."""
    name, value, traceback = pending.error or (None, None, "")
    return CellResult(
        stdout=plain("".join(pending.text["stdout"]), output_chars),
        stderr=plain("".join(pending.text["stderr"] + pending.notes), output_chars),
        late=pending.late_output,
        missing=pending.missing,
        missing_chars=pending.missing_chars,
        value=pending.value,
        error_name=name,
        error_value=value,
        traceback=traceback,
        outputs=tuple(pending.outputs),
        received_bytes=pending.received,
        **fields,
    )


async def _interrupt(process: Process, ends: set[asyncio.Future[Any]], grace_s: float, began: float) -> None:
    """Sends SIGINT twice: the first may arrive before the cell has begun, or be swallowed by it.

    Later kills the programs that the cell has started and may wait for. What is left of an interrupted command is
    killed after the grace in any case.
    """
    loop, started = asyncio.get_running_loop(), time.monotonic()
    interrupted = interrupt(process)
    try:
        if not await _end(ends, grace_s / 2):
            interrupt(process)
            if not await _end(ends, grace_s / 4):
                kill_commands(process, began)
                process.signal(signal.SIGINT)
                await _end(ends, grace_s / 4)
    finally:
        if interrupted.members:
            loop.call_later(max(0.0, started + grace_s - time.monotonic()), interrupted.kill_orphans, began)


async def _end(ends: set[asyncio.Future[Any]], timeout_s: float) -> bool:
    """Whether the cell or its process ends in time."""
    done, _ = await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


def _reply_status(pending: PendingExecution, late: bool) -> Status:
    if late:
        return "timeout_interrupted"
    if pending.error is None:
        return "ok"
    return "output_limit" if pending.error[0] == "OutputLimit" else "error"
