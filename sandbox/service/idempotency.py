"""Idempotency keys: repeated requests with the same id share one piece of work and one answer.

Contract: :meth:`IdempotencyCache.get_or_run` starts the work at the first call with an id and returns the same work,
running or done, at every further call; the same id with a different body is a conflict. The cache holds the last
``keep`` finished pieces of work and every running one. It is in memory only: after a restart of the service it is
empty, and so are the kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from sandbox.service.errors import ApiError


class Work(Protocol):
    """Something that runs and ends."""

    def done(self) -> bool:
        """Whether it has ended."""
        ...


W = TypeVar("W", bound=Work)


class IdempotencyCache(Generic[W]):
    """Pieces of work by request id."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._entries: dict[str, tuple[str, W]] = {}

    def get_or_run(self, request_id: str | None, digest: str, run: Callable[[], W]) -> W:
        """The work of this id, started by ``run`` if the id is new. ``digest`` identifies the request's content.

        Raises :class:`ApiError` when the id was used for a request with another digest.
        """
        if request_id is None:
            return run()
        if request_id in self._entries:
            known, work = self._entries[request_id]
            if known != digest:
                raise ApiError("conflict", f"request id {request_id!r} was used for another request; use a new one")
            return work
        work = run()
        self._entries[request_id] = (digest, work)
        finished = [key for key, (_, piece) in self._entries.items() if piece.done()]
        for key in finished[: max(0, len(self._entries) - self._keep)]:
            del self._entries[key]
        return work

    def forget(self, request_id: str | None) -> None:
        """Frees the id, because its work failed for a reason that may pass."""
        if request_id is not None:
            self._entries.pop(request_id, None)
