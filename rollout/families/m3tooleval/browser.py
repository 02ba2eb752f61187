"""Functions of the domain ``web_browsing``: a browser on the benchmark's site, which is offline.

Contract: an episode has its own browser, which begins at the page ``/`` and shows five lines of a page. The pages are
shared and never changed. Some links of the site lead nowhere, as in the original.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

from rollout.families.base import Toolset
from rollout.families.m3tooleval.calculator import calculate

FIRST_PAGE = "/"
_LINES = 5
_RULE = "-" * 10


class Browser(Toolset):
    """Opens pages and scrolls. ``pages``: address → text of the page."""

    kind: ClassVar[str | None] = "m3tooleval-browser"
    names = ("click_url", "go_to_previous_page", "scroll_down", "scroll_up", "view", "calculator")

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages
        self._page, self._first_line = FIRST_PAGE, 0
        self._history: list[str] = []

    def fresh(self) -> Browser:
        """A browser at the first page."""
        return Browser(self._pages)

    def fork(self) -> Browser:
        """A browser at the same place, with the same history."""
        other = copy.copy(self)
        other._history = list(self._history)
        return other

    def description(self) -> Any:
        """The pages."""
        return [self.kind, sorted(self._pages.items())]

    def click_url(self, url: str) -> str:
        """Opens a page and returns its first lines. Text like [Clickable '/about'] marks the URL /about."""
        address = url.replace("'", "")
        if address not in self._pages:
            return "[URL not found.]"
        self._history.append(self._page)
        return self._open(address)

    def go_to_previous_page(self) -> str:
        """Goes back to the page before this one and returns its first lines."""
        return self._open(self._history.pop()) if self._history else "[No previous page.]"

    def scroll_down(self) -> str:
        """Scrolls down and returns the next lines of the page."""
        if self._first_line + _LINES >= len(self._lines):
            return "[Reached the bottom of the page.]\n"
        self._first_line += _LINES
        return self.view()

    def scroll_up(self) -> str:
        """Scrolls up and returns the lines before these."""
        if not self._first_line:
            return "[Reached the top of the page.]\n"
        self._first_line -= _LINES
        return self.view()

    def view(self) -> str:
        """Returns the lines of the page that are in view, with the page's name. The first page is /."""
        lines, first = self._lines, self._first_line
        last = -(-len(lines) // _LINES)
        heading = f"[Web Page Name: {self._page}]\n[Viewing page {first // _LINES + 1} of {last}]\n"
        return "\n".join([_RULE, heading, *lines[first : first + _LINES], _RULE])

    def calculator(self, expression: str) -> Any:
        """Returns the value of an arithmetic expression: 14 for "2 + (3 * 4)"."""
        return calculate(expression)

    @property
    def _lines(self) -> list[str]:
        return self._pages[self._page].split("\n")

    def _open(self, address: str) -> str:
        self._page, self._first_line = address, 0
        return f"[Opened page: {address}]\n{self.view()}"
