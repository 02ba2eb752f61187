"""One cell on its way: what it shows while it runs, who is listening, and what it came to.

Contract: the cell starts when its kernel is free. Everybody who listens gets every event from the beginning, and the
result last. When nobody has listened for ``rejoin_s`` seconds the cell is interrupted (one that has not begun never
does): zero for a request without an id, a few seconds for one with an id, because that client said it may come back.
Memory: what one cell may send, until it ends; then the result alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.result import CellResult, SandboxError
from sandbox.service.leases import Lease

Event = dict[str, Any]


class Execution:
    """Made inside the event loop; runs at once or when the cells before it have ended."""

    def __init__(
        self,
        lease: Lease,
        code: str,
        timeout_s: float | None,
        rejoin_s: float,
        on_end: Callable[[CellResult | None], None],
    ) -> None:
        """``on_end`` hears of the result, or None when there is none, before any listener does."""
        self._lease, self._code, self._timeout_s = lease, code, timeout_s
        self._rejoin_s = rejoin_s
        self._began = False
        self._events: list[Event] = []
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._leaving: asyncio.TimerHandle | None = None
        self._task = asyncio.ensure_future(self._run())
        self._task.add_done_callback(lambda task: self._end(task, on_end))

    def done(self) -> bool:
        """Whether the cell has ended."""
        return self._task.done()

    def say(self, event: Event) -> None:
        """Tells everybody who listens."""
        self._events.append(event)
        for queue in self._listeners:
            queue.put_nowait(event)

    @contextmanager
    def listening(self) -> Iterator[asyncio.Queue[Event | None]]:
        """The events so far and to come; None after the last. The cell needs somebody inside this block to go on."""
        if self._leaving is not None:
            self._leaving.cancel()
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
                self._leaving = loop.call_later(self._rejoin_s, self._abandon)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Every event; the last is ``{"event": "result", "result": …}``. Raises what kept the cell from a result."""
        with self.listening() as queue:
            while (event := await queue.get()) is not None:
                yield event
            yield {"event": "result", "result": (await self.result()).model_dump(mode="json")}

    async def result(self) -> CellResult:
        """What it came to; waiting for it is listening. Raises :class:`sandbox.SandboxError`."""
        with self.listening():
            return await asyncio.shield(self._task)

    async def _run(self) -> CellResult:
        with self._lease.call():
            async with self._lease.turn:
                self._began = True
                with self._lease.channel.through(self.say):
                    result = await self._lease.kernel.run(self._code, self._timeout_s, on_event=self._on_event)
        if self._lease.broken_off and not result.state_survived:
            raise SandboxError("the service was ended while the cell ran")
        return result

    def _on_event(self, kind: str, content: dict[str, Any]) -> None:
        self.say({"event": kind, **content})

    def _abandon(self) -> None:
        if self._began:
            self._lease.kernel.interrupt()
        else:
            self._task.cancel()

    def _end(self, task: asyncio.Task[CellResult], on_end: Callable[[CellResult | None], None]) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        failed = task.cancelled() or task.exception() is not None
        on_end(None if failed else task.result())
        self._events.clear()
        for queue in self._listeners:
            queue.put_nowait(None)
