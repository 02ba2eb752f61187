"""One case, from its kernel to its verdict.

Contract: the judge believes what the host can see (the outcome, the clock, the sibling, the victim, files, processes
and the host's own memory) and one thing a cell says about itself: that it got through.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sandbox.isolation.probe import probe
from sandbox.limits import Limits
from sandbox.result import CellResult
from sandbox.security_suite.case import CONFESSION, Case
from sandbox.security_suite.fixtures import Scene, resident_mib

LIMITS = Limits(memory_mib=512, workspace_mib=64, workspace_inodes=2000, processes=32, output_chars=4000)
HOST_GROWTH_MIB = 64
LATE_S = 2.0
"""After its limit a cell must be over, the grace of the interrupt included."""
Verdict = Literal["held", "breach", "not promised", "not run"]


class Score(BaseModel):
    """One line of the scorecard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    group: str
    verdict: Verdict
    stopped_by: str
    """The mechanism, where it held."""
    seen: str
    """What the host saw: the outcome, or why the verdict is what it is."""
    seconds: float


async def judge(pool: Any, kernel_name: str, case: Case, scene: Scene) -> Score:
    """Runs the case in a kernel of its own. ``pool``: anything with ``acquire`` and ``tier``."""
    before = resident_mib()
    async with await pool.acquire() as kernel:
        started = time.monotonic()
        result = await kernel.run(scene.told(case.code), timeout_s=case.timeout_s)
        took = time.monotonic() - started
        then = await kernel.run(scene.told(case.then), timeout_s=5)
        found = await case.after(kernel, scene) if case.after and kernel_name in case.kernels else None
    neighbour = await scene.sibling.run("6 * 7", timeout_s=30)  # the machine may be busy with others
    fault = found or _fault(case, result, then, took, scene, resident_mib() - before)
    if neighbour.value != "42":
        fault = f"the sibling answers {neighbour.status}"
    elif "{stray}" in case.code:
        fault = fault or await scene.strays()
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
    """A case that would do harm."""
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
    case: Case, result: CellResult, then: CellResult, took: float, scene: Scene, growth_mib: float
) -> str | None:
    for cell in (result, then):
        if CONFESSION in cell.stdout:
            return f"the cell got through: {cell.stdout.strip()[:100]}"
    if (harm := scene.unharmed()) is not None:
        return harm
    if result.status not in case.allowed or not (case.seen is None or case.seen(result)):
        return f"{outcome(result)}; expected {' or '.join(case.allowed)}"
    if took > case.timeout_s + LATE_S:
        return f"took {took:.1f} s"
    if growth_mib > HOST_GROWTH_MIB:
        return f"the host grew by {growth_mib:.0f} MiB"
    return None
