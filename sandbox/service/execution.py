"""One execution of a cell: its events, its listeners and its result.

Contract: the cell starts when its kernel is free. Every listener gets every event from the beginning, and the result
last. When there has been no listener for ``rejoin_s`` seconds the cell is interrupted, or cancelled if it has not
started: zero seconds for a request without an id, a few seconds for one with an id, because its client may reconnect.
Memory: the events of one cell until it ends; then only the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sandbox.kernel import Kernel
from sandbox.result import CellResult, SandboxError
from sandbox.service.tool_calls import ToolChannel

Event = dict[str, Any]


class KernelSlot(Protocol):
    """What an execution needs of the lease it runs in, see :class:`sandbox.service.leases.Lease`."""

    kernel: Kernel
    channel: ToolChannel
    cell_lock: asyncio.Lock
    closing: bool

    def call(self) -> AbstractContextManager[None]:
        """Keeps the lease alive inside the block."""
        ...


class Execution:
    """Created inside the event loop; runs at once or when the kernel's earlier cells have ended."""

    def __init__(
        self,
        slot: KernelSlot,
        code: str,
        timeout_s: float | None,
        rejoin_s: float,
        on_end: Callable[[CellResult | None], None],
    ) -> None:
        """``on_end`` gets the result, or None when there is none, before any listener does."""
        self._slot, self._code, self._timeout_s = slot, code, timeout_s
        self._rejoin_s = rejoin_s
        self._started = False
        self._events: list[Event] = []
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._abandon_timer: asyncio.TimerHandle | None = None
        self._interrupting: asyncio.Task[bool] | None = None
        self._task = asyncio.ensure_future(self._run())
        self._task.add_done_callback(lambda task: self._end(task, on_end))

    def done(self) -> bool:
        """Whether the cell has ended."""
        return self._task.done()

    def emit(self, event: Event) -> None:
        """Sends an event to every listener."""
        self._events.append(event)
        for queue in self._listeners:
            queue.put_nowait(event)

    @contextmanager
    def listen(self) -> Iterator[asyncio.Queue[Event | None]]:
        """A queue of all events, past and future; None after the last.

        The cell is abandoned ``rejoin_s`` seconds after the last caller has left this block.
        """
        if self._abandon_timer is not None:
            self._abandon_timer.cancel()
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        for event in (*self._events, *([None] if self.done() else [])):
            queue.put_nowait(event)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)
            if not self._listeners and not self.done():
                loop = asyncio.get_running_loop()
                self._abandon_timer = loop.call_later(self._rejoin_s, self._abandon)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Every event; the last is ``{"event": "result", "result": …}``. Raises :class:`sandbox.SandboxError`."""
        with self.listen() as queue:
            while (event := await queue.get()) is not None:
                yield event
            yield {"event": "result", "result": (await self.result()).model_dump(mode="json")}

    async def result(self) -> CellResult:
        """The cell's result; the caller counts as a listener while it waits. Raises :class:`sandbox.SandboxError`."""
        with self.listen():
            return await asyncio.shield(self._task)

    async def _run(self) -> CellResult:
        with self._slot.call():
            async with self._slot.cell_lock:
                self._started = True
                with self._slot.channel.connect(self.emit):
                    result = await self._slot.kernel.run(self._code, self._timeout_s, on_event=self._on_event)
        if self._slot.closing and not result.state_survived:
            raise SandboxError("the service was ended while the cell ran")
        return result

    def _on_event(self, kind: str, content: dict[str, Any]) -> None:
        self.emit({"event": kind, **content})

    def _abandon(self) -> None:
        if self._started:
            self._interrupting = asyncio.ensure_future(self._slot.kernel.interrupt())
        else:
            self._task.cancel()

    def _end(self, task: asyncio.Task[CellResult], on_end: Callable[[CellResult | None], None]) -> None:
        if self._abandon_timer is not None:
            self._abandon_timer.cancel()
        failed = task.cancelled() or task.exception() is not None
        on_end(None if failed else task.result())
        self._events.clear()
        for queue in self._listeners:
            queue.put_nowait(None)
