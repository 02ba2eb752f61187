"""The functions that recorded cells call."""

from __future__ import annotations

import ast
from typing import ClassVar

from rollout.checks.replay.observations import read_output
from rollout.checks.replay.recorded import RecordedRun
from rollout.families.base import Toolset

NOT_RECORDED = "No good Wikipedia Search Result was found"


class RecordedSearch(Toolset):
    """``wikipedia_search`` that returns what it returned when the run was recorded.

    A result is known when a cell calls the function once, with a literal, and prints it. Other queries get the answer
    for a search without a result: nothing here asks the network.
    """

    kind: ClassVar[str | None] = "recorded_search"
    names: tuple[str, ...] = ("wikipedia_search",)

    def __init__(self, results: dict[str, str]) -> None:
        self._results = results

    def wikipedia_search(self, query: str) -> str:
        """Searches Wikipedia and returns the summaries of the pages found."""
        return self._results.get(query, NOT_RECORDED)


def recorded_search(run: RecordedRun) -> RecordedSearch | None:
    """The searches of a run; None when it makes none."""
    if not any("wikipedia_search" in turn.text for turn in run.turns):
        return None
    results: dict[str, str] = {}
    for turn in run.turns:
        query = _only_query(turn.code)
        if query is None or turn.observation is None:
            continue
        printed = read_output(turn.observation).printed
        if printed.startswith("Page: "):
            results[query] = printed
    return RecordedSearch(results)


def _only_query(code: str) -> str | None:
    """The query of a cell that searches once with a literal."""
    try:
        calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    searches = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "wikipedia_search"]
    if len(searches) != 1 or len(searches[0].args) != 1:
        return None
    query = searches[0].args[0]
    return query.value if isinstance(query, ast.Constant) and isinstance(query.value, str) else None
