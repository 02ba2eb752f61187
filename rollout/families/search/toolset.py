"""The toolset with the one function that searches.

Contract: a :class:`SearchSource` finds pages; :class:`SearchToolset` words them as a text. Sources are small picklable
values: connections and indices belong to the process and are shared by all of its episodes. A source that does not
answer ends the episode as lost to the infrastructure, so a missing network never counts against the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from rollout.bank.trajectory import EpisodeError, Outcome
from rollout.families.base import Toolset

QUERY_CHARS = 300
"""Longest query; the rest is cut, as in the paper's tool."""
NOTHING = "No page was found."


@dataclass(frozen=True)
class Page:
    """One result of a search."""

    title: str
    text: str


class SourceUnavailableError(Exception):
    """The source does not answer; another attempt of the episode can help."""


class SearchSource(Protocol):
    """Where pages are found. Picklable, and cheap to copy."""

    def find(self, query: str, count: int) -> list[Page]:
        """At most ``count`` pages, the best first.

        Raises:
            SourceUnavailableError: the source does not answer.
        """

    def describe(self) -> Any:
        """What distinguishes its pages from those of another source, JSON-serialisable, for task digests."""


class SearchToolset(Toolset):
    """Offers ``search(query)``. By default 2 pages and 1,000 characters, as in the paper (MINT's Wikipedia tool)."""

    kind: ClassVar[str | None] = "search"

    def __init__(self, source: SearchSource, name: str = "search", pages: int = 2, max_chars: int = 1000) -> None:
        """``name``: that of the function in cells; ``max_chars``: length of the text of all pages."""
        self.source, self.name, self.pages, self.max_chars = source, name, pages, max_chars
        self._lost: str | None = None
        self._open: list[str] = []  # queries without an answer yet

    def fresh(self) -> SearchToolset:
        """A copy that shares the source."""
        return SearchToolset(self.source, self.name, self.pages, self.max_chars)

    def fork(self) -> SearchToolset:
        """The same as :meth:`fresh`: searches leave no state."""
        return self.fresh()

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The function under its name."""
        return {self.name: self.search}

    def search(self, query: str) -> str:
        """Returns the encyclopedia pages that fit a query best: title and first paragraphs of each."""
        query = " ".join(query.split())[:QUERY_CHARS]
        if not query:
            return NOTHING
        self._open.append(query)
        try:
            found = self.source.find(query, self.pages)
        except SourceUnavailableError as fault:
            self._lost = str(fault)
            raise RuntimeError(f"{self.name}() is not available: {fault}") from fault
        finally:
            self._open.remove(query)
        text = "\n\n".join(f"Page: {page.title}\nSummary: {page.text}" for page in found)
        return text[: self.max_chars] or NOTHING

    def outcome(self) -> Outcome | None:
        """Loses the episode after a search that got no answer, or none before the cell's time was over."""
        if self._lost is None and not self._open:
            return None
        fault = self._lost or f"no answer to {self._open[0]!r} before the cell ended"
        error = EpisodeError(kind="infra", message=f"{self.name}: {fault}")
        return Outcome(success=False, reward=0.0, reason="error", error=error)

    def description(self) -> Any:
        """Name, limits and source."""
        return [self.kind, self.name, self.pages, self.max_chars, self.source.describe()]
