"""The functions that act on a page of MiniWoB++.

Contract: each does one thing in the browser and returns what the page shows then; one that cannot be done raises a
``ValueError`` in the cell, and the page stays as it is. The page alone ends its task, with a reward that this process
reads from the browser; no text of an agent and no cell has a part in it. An element is named by its ``ref``, which
:meth:`WebPage.look` shows and which stays for the episode, or by XPath.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rollout.bank.trajectory import Outcome
from rollout.environment import ended
from rollout.families.base import Toolset
from rollout.families.miniwob.client import RunningPage
from rollout.families.opening import opened

LONGEST_TEXT = 2000
"""Characters that one call types."""


class WebPage(Toolset):
    """A page with a task."""

    kind: ClassVar[str | None] = "miniwob"
    names = ("look", "click", "type_text", "press", "choose", "hover")

    def __init__(self, page: str, seed: int, any_reward: bool = False) -> None:
        """``any_reward``: a part of the reward solves the task, as in the reference system."""
        self._page, self._seed, self._any_reward = page, seed, any_reward
        self._running: RunningPage | None = None

    def fresh(self) -> WebPage:
        """A copy without a browser, which :meth:`open` gets."""
        return WebPage(self._page, self._seed, self._any_reward)

    def fork(self) -> WebPage:
        """Raises NotImplementedError: a page cannot be copied."""
        raise NotImplementedError("a page in a browser cannot be copied")

    async def open(self) -> None:
        """Opens the page. Raises EnvironmentFault when no browser shows it."""
        self._running = await opened(lambda: RunningPage(self._page, f"{self._page}/{self._seed}"))

    def outcome(self) -> Outcome | None:
        """Solved when the page gives its whole reward. A page that refuses gives 0. Raises EnvironmentFault."""
        if self._running is None:
            return None
        done, reward = self._running.verdict()
        if not done:
            return None
        solved = reward > 0.0 if self._any_reward else reward >= 1.0
        return ended("solved" if solved else "failed", max(reward, 0.0))

    def close(self) -> None:
        """Lets the browser go."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def description(self) -> Any:
        """The page and the seed of its task."""
        return [self.kind, self._page, self._seed, *(["any reward"] if self._any_reward else [])]

    def look(self) -> str:
        """Shows what the page asks for, and its HTML, in which each element has a ref."""
        return self._act("look")

    def click(self, element: int | str) -> str:
        """Clicks an element, given by its ref or by XPath. Returns the page as it is then."""
        return self._act("click", element)

    def type_text(self, text: str, element: int | str | None = None) -> str:
        """Types into an element, or where the focus is. A newline presses Enter. Returns the page as it is then."""
        if len(text) > LONGEST_TEXT:
            raise ValueError(f"one call types at most {LONGEST_TEXT} characters")
        return self._act("type", element, text)

    def press(self, key: str) -> str:
        """Presses a key where the focus is: a character, or a name such as Enter, Tab, Backspace or Down."""
        return self._act("press", None, key)

    def choose(self, element: int | str, option: str) -> str:
        """Selects an option of a list by its text; in a list of several choices, besides those selected before."""
        return self._act("choose", element, option)

    def hover(self, element: int | str) -> str:
        """Moves the mouse over an element, which opens menus. Returns the page as it is then."""
        return self._act("hover", element)

    def _act(self, do: str, element: int | str | None = None, text: str = "") -> str:
        if self._running is None:
            raise RuntimeError("the page has not been opened")
        return self._running.act(do, element, text)
