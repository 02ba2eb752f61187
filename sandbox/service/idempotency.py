"""Requests that are repeated: the same id is the same request, and has the same answer.

Contract: :meth:`Remembered.recall` makes a piece of work at the first call with an id and returns that same piece,
running or done, at every further one; the same id with another body is a conflict. The last ``keep`` pieces are
remembered, running ones always. Not on disk: a service that is started again has forgotten, and its kernels are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from sandbox.service.errors import Refused


class Work(Protocol):
    """Something that runs and ends."""

    def done(self) -> bool:
        """Whether it has ended."""
        ...


W = TypeVar("W", bound=Work)


class Remembered(Generic[W]):
    """Pieces of work by request id."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._known: dict[str, tuple[str, W]] = {}

    def recall(self, request_id: str | None, digest: str, make: Callable[[], W]) -> W:
        """The work of this id. ``digest`` stands for all the request says. Raises :class:`Refused`."""
        if request_id is None:
            return make()
        if request_id in self._known:
            known, work = self._known[request_id]
            if known != digest:
                raise Refused("conflict", f"request id {request_id!r} was used for another request; use a new one")
            return work
        work = make()
        self._known[request_id] = (digest, work)
        finished = [key for key, (_, piece) in self._known.items() if piece.done()]
        for key in finished[: max(0, len(self._known) - self._keep)]:
            del self._known[key]
        return work

    def forget(self, request_id: str | None) -> None:
        """The work failed for a reason that may pass: the id is free again."""
        if request_id is not None:
            self._known.pop(request_id, None)
