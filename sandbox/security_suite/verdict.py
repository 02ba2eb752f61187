"""Runs one case and gives its verdict.

Contract: the verdict uses what the host observes (the outcome, the clock, the sibling, the victim, files, processes and
the host's own memory) and, of the cell's output, only the breach marker.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sandbox.isolation.probe import probe
from sandbox.limits import Limits
from sandbox.result import CellResult
from sandbox.security_suite.case import BREACH_MARKER, Case
from sandbox.security_suite.fixtures import Fixtures, resident_mib

LIMITS = Limits(memory_mib=512, workspace_mib=64, workspace_inodes=2000, processes=32, output_chars=4000)
HOST_GROWTH_MIB = 64
LATE_S = 2.0
"""A cell must end this long after its limit, including the interrupt's grace period."""
Verdict = Literal["held", "breach", "not promised", "not run"]


class Score(BaseModel):
    """One line of the scorecard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    group: str
    verdict: Verdict
    stopped_by: str
    """The mechanism, if the case was held."""
    seen: str
    """The outcome, or the reason for the verdict."""
    seconds: float


async def run_case(pool: Any, kernel_name: str, case: Case, fixtures: Fixtures) -> Score:
    """Runs the case in a new kernel. ``pool``: any object with ``acquire`` and ``tier``."""
    before = resident_mib()
    async with await pool.acquire() as kernel:
        started = time.monotonic()
        result = await kernel.run(fixtures.fill_in(case.code), timeout_s=case.timeout_s)
        took = time.monotonic() - started
        second = await kernel.run(fixtures.fill_in(case.next_code), timeout_s=5)
        found = await case.check(kernel, fixtures) if case.check and kernel_name in case.kernels else None
    neighbour = await fixtures.sibling.run("6 * 7", timeout_s=30)  # the machine may be busy with others
    fault = found or _fault(case, result, second, took, fixtures, resident_mib() - before)
    if neighbour.value != "42":
        fault = f"the sibling answers {neighbour.status}"
    elif "{stray}" in case.code:
        fault = fault or await fixtures.find_leftovers()
    held: Verdict = "breach" if _promised(case, pool.tier, kernel_name) else "not promised"
    return Score(
        case=case.name,
        group=case.group,
        verdict="held" if fault is None else held,
        stopped_by="" if fault else _mechanism(case, pool.tier),
        seen=fault or outcome(result),
        seconds=took,
    )


def not_run(case: Case, why: str) -> Score:
    """The score of a case that was skipped."""
    return Score(case=case.name, group=case.group, verdict="not run", stopped_by="", seen=why, seconds=0)


def outcome(result: CellResult) -> str:
    """A result in a few words."""
    error = f" {result.error_name}: {(result.error_value or '')[:60]}" if result.error_name else ""
    text = result.stdout.strip().splitlines()[-1][:80] if result.stdout.strip() and not error else ""
    kept = "" if result.state_survived else ", state lost"
    return f"{result.status}{error}{' | ' + text if text.isprintable() and text else ''}{kept}"


def _promised(case: Case, tier: str, kernel: str) -> bool:
    if kernel not in case.kernels or not case.promised:
        return False
    return case.needs is None or _properties(tier)[case.needs].level == "enforced"


def _mechanism(case: Case, tier: str) -> str:
    properties = _properties(tier)
    return properties[case.needs].mechanism if case.needs and properties else case.stopped_by


def _properties(tier: str) -> dict[str, Any]:
    return dict(probe().properties.get(tier, {}))  # type: ignore[call-overload]


def _fault(
    case: Case, result: CellResult, second: CellResult, took: float, fixtures: Fixtures, growth_mib: float
) -> str | None:
    for cell in (result, second):
        if BREACH_MARKER in cell.stdout:
            return f"the cell got through: {cell.stdout.strip()[:100]}"
    if (harm := fixtures.find_damage()) is not None:
        return harm
    if result.status not in case.allowed or not (case.check_result is None or case.check_result(result)):
        return f"{outcome(result)}; expected {' or '.join(case.allowed)}"
    if case.check_next is not None and not case.check_next(second):
        return f"the next cell: {outcome(second)}"
    if took > case.timeout_s + LATE_S:
        return f"took {took:.1f} s"
    if growth_mib > HOST_GROWTH_MIB:
        return f"the host grew by {growth_mib:.0f} MiB"
    return None
