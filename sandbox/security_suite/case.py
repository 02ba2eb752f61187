"""A case of the security suite: one hostile cell and the outcomes that are acceptable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.result import CellResult

if TYPE_CHECKING:
    from sandbox.kernel import Kernel
    from sandbox.security_suite.fixtures import Fixtures

ENDS = ("ok", "error", "timeout_interrupted", "timeout_killed", "died", "out_of_memory", "output_limit")
BREACH_MARKER = "BREACH"


@dataclass(frozen=True)
class Case:
    """One cell. ``code`` may have placeholders in braces, see :class:`sandbox.security_suite.fixtures.Fixtures`."""

    name: str
    group: str
    code: str
    needs: str | None = None
    """The property of the probe that must be enforced for the tier to promise this case."""
    allowed: tuple[str, ...] = ENDS
    """Acceptable statuses."""
    timeout_s: float = 4.0
    check_result: Callable[[CellResult], bool] | None = None
    """A further condition on the result."""
    next_code: str = "6 * 7"
    """The next cell of the same kernel; it must not hang and must not print the breach marker."""
    check_next: Callable[[CellResult], bool] | None = None
    """A condition on the result of the next cell."""
    check: Callable[[Kernel, Fixtures], Awaitable[str | None]] | None = None
    """A check by the host after both cells; returns the fault it finds."""
    stopped_by: str = ""
    """The mechanism that stops the case, if no property of the probe names it."""
    promised: bool = True
    """False for a known limitation: a case that gets through is reported as not promised, and is no breach."""
    kernels: tuple[str, ...] = ("light", "ipykernel")
    """The kernels it is promised for."""
    unsafe: bool = False
    """Must not run without isolation, because it would harm the machine."""
    harmless: bool = False
    """Only reads, connects, prints or takes time, so it may run in a stock kernel on the bare machine."""


def tries(code: str) -> str:
    """Code that prints the breach marker when ``code`` succeeds."""
    body = "\n".join(f"    {line}" for line in code.strip().splitlines())
    return (
        f"import os, socket, ctypes, resource\ntry:\n{body}\n    print('{BREACH_MARKER}')\n"
        "except (OSError, MemoryError, ValueError) as e:\n    print('stopped:', type(e).__name__, e)"
    )


def attempts(
    group: str,
    needs: str | None,
    stopped_by: str,
    cases: dict[str, str],
    unsafe: bool = False,
    harmless: bool = False,
) -> list[Case]:
    """Cases whose code must fail with an OSError, a MemoryError or a ValueError."""
    return [
        Case(name, group, tries(code), needs, allowed=("ok",), stopped_by=stopped_by, unsafe=unsafe, harmless=harmless)
        for name, code in cases.items()
    ]
