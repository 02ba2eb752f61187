"""What one hostile cell is, and what counts as withstanding it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sandbox.result import CellResult

ENDS = ("ok", "error", "timeout_interrupted", "timeout_killed", "died", "out_of_memory", "output_limit")


@dataclass(frozen=True)
class Case:
    """One cell. ``code`` may name the host's facts: {secret} {victim} {owner} {tcp} {unix} {abstract}."""

    name: str
    group: str
    code: str
    needs: str | None = None
    """The property of the probe that must be enforced for the tier to promise this case."""
    allowed: tuple[str, ...] = ENDS
    """Outcomes that are fine."""
    timeout_s: float = 4.0
    seen: Callable[[CellResult], bool] | None = None
    """What the result must be like beyond its status."""
    stopped_by: str = ""
    """The mechanism that ends it, in words."""
    unsafe: bool = False
    """Must not be run where nothing isolates: it would harm the machine."""


def tries(code: str) -> str:
    """Code that confesses when ``code`` succeeds."""
    body = "\n".join(f"    {line}" for line in code.strip().splitlines())
    return (
        f"import os, socket, ctypes, resource\ntry:\n{body}\n    print('BREACH')\n"
        "except (OSError, MemoryError, ValueError) as e:\n    print('stopped:', type(e).__name__, e)"
    )


def attempts(group: str, needs: str | None, stopped_by: str, cases: dict[str, str], unsafe: bool = False) -> list[Case]:
    """Cases whose code must fail with an OSError, a MemoryError or a ValueError."""
    return [
        Case(name, group, tries(code), needs, allowed=("ok",), stopped_by=stopped_by, unsafe=unsafe)
        for name, code in cases.items()
    ]
