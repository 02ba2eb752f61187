"""What one hostile cell is, and what counts as withstanding it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.result import CellResult

if TYPE_CHECKING:
    from sandbox.kernel import Kernel
    from sandbox.security_suite.fixtures import Scene

ENDS = ("ok", "error", "timeout_interrupted", "timeout_killed", "died", "out_of_memory", "output_limit")
CONFESSION = "BREACH"


@dataclass(frozen=True)
class Case:
    """One cell. ``code`` may name the host's facts in braces, see :class:`sandbox.security_suite.fixtures.Scene`."""

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
    then: str = "6 * 7"
    """The next cell of the same kernel: whatever it comes to, it must not hang and must not confess."""
    after: Callable[[Kernel, Scene], Awaitable[str | None]] | None = None
    """A look of the host's at the kernel when both cells are over; what it finds wrong."""
    stopped_by: str = ""
    """The mechanism that ends it, in words, where no property of the probe names it."""
    promised: bool = True
    """False for a known limit: what gets through is said to be so, and is no breach."""
    kernels: tuple[str, ...] = ("light", "ipykernel")
    """The kernels it is promised for."""
    unsafe: bool = False
    """Must not be run where nothing isolates: it would harm the machine."""
    harmless: bool = False
    """Reads, connects, prints or takes time, and nothing else: a stock kernel may run it on the bare machine."""


def tries(code: str) -> str:
    """Code that confesses when ``code`` succeeds."""
    body = "\n".join(f"    {line}" for line in code.strip().splitlines())
    return (
        f"import os, socket, ctypes, resource\ntry:\n{body}\n    print('{CONFESSION}')\n"
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
