"""Right and wrong answers for the grader ``m3tooleval``, by the type of the expected value.

Contract: pure functions. The first right answer is written as the task asks for it; no wrong answer is one of the
other right values of a task.
"""

from __future__ import annotations

from typing import Any


def written(value: Any, decimals: int | None) -> list[str]:
    """Ways to write a right value."""
    if isinstance(value, str):
        return [value, repr(value)]
    if isinstance(value, bool):
        return [str(value), str(value).lower()]
    if isinstance(value, int):
        return [str(value), f"{value:,}", f"{value}.0"]
    if isinstance(value, float):
        return [repr(value) if decimals is None else f"{value:.{decimals}f}", repr(value)]
    if isinstance(value, list | tuple):
        alone = [", ".join(map(repr, value))] if len(value) > 1 else []
        return [repr(value), repr(list(value)), *alone]
    return [repr(value), repr(dict(reversed(value.items())))]


def near_misses(value: Any, decimals: int | None) -> list[str]:
    """Wrong answers that are nearly the value."""
    if isinstance(value, str):
        return [value[:-1], f"{value}x", value.swapcase() if value.swapcase() != value else f"not {value}"]
    if isinstance(value, bool):
        return [str(not value), "maybe", str(int(value))]
    if isinstance(value, int):
        return [str(value + 1), *([str(value * 10), str(-value)] if value else [])]
    if isinstance(value, float):
        cut = [] if value.is_integer() else [str(int(value))]  # the reference accepts it
        scaled = [repr(value * 1.1), repr(-value)] if value else []
        return [f"{round(value, 2) + 0.01:.2f}", *scaled, *cut]
    if isinstance(value, list | tuple):
        kind = type(value)
        turned, changed = kind(reversed(value)), kind([*value[:-1], _other(value[-1])])
        return [*map(repr, ([] if turned == value else [turned])), *map(repr, (changed, value[:-1], (*value, 7919)))]
    first, *others = value
    return [repr({**value, first: _other(value[first])}), repr({key: value[key] for key in others})]


def _other(part: Any) -> Any:
    return f"{part}x" if isinstance(part, str) else part + 1
