"""Starting what a task runs in, such as a browser page, while the episode can be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar


class _Closes(Protocol):
    def close(self) -> None: ...


Started = TypeVar("Started", bound=_Closes)


async def opened(start: Callable[[], Started]) -> Started:
    """What ``start`` returns, which runs in a thread. It is closed when the caller is cancelled before."""
    opening = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(lambda done: None if done.exception() else done.result().close())
        raise
