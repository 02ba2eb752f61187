"""Runs the security suite in one tier and kernel, or in stock ipykernel on the bare machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from sandbox.isolation.probe import Tier
from sandbox.pool import KernelPool
from sandbox.security_suite import escape, leaks, notebook_cells, ordinary_work, printed, protocol, resources
from sandbox.security_suite.baseline_kernel import BaselinePool
from sandbox.security_suite.case import ENDS, Case
from sandbox.security_suite.fixtures import SECRET, Fixtures, create_fixtures, process_state
from sandbox.security_suite.verdict import LIMITS, Score, not_run, run_case

CASES: tuple[Case, ...] = (
    *escape.FILES, *leaks.HANDED_DOWN, *escape.NETWORK, *escape.PROCESSES, *escape.KERNEL_CALLS,
    *resources.TIME, *resources.MEMORY, *resources.PROCESSES, *resources.DISK, *resources.OUTPUT,
    *protocol.DEATHS, *protocol.PROTOCOL, *protocol.PYTHON, *ordinary_work.WORK,
    *notebook_cells.CELLS, *printed.PRINTED,
)  # fmt: skip
SuiteKernel = Literal["light", "ipykernel", "stock"]


def cases_of(groups: Sequence[str] | None) -> Sequence[Case]:
    """The cases of these groups, all for None. Raises ValueError for an unknown group."""
    known = dict.fromkeys(case.group for case in CASES)
    for group in groups or ():
        if group not in known:
            raise ValueError(f"--group must be one of {', '.join(known)} (got {group!r})")
    return [case for case in CASES if not groups or case.group in groups]


async def run_suite(
    tier: Tier,
    kernel: SuiteKernel = "light",
    cases: Sequence[Case] | None = None,
    on_score: Callable[[Score], None] = lambda score: None,
) -> list[Score]:
    """Runs every case once, in order (:data:`CASES`). Cases that would harm the machine are skipped in tier T0.

    ``stock`` has no tier: it promises nothing, and runs only cases that read, connect, print or take time.
    """
    scores = []
    with create_fixtures() as fixtures:
        async with _pool(tier, kernel) as pool:
            await _start_sibling(pool, fixtures)
            for case in CASES if cases is None else cases:
                score = await _score(pool, tier, kernel, case, fixtures)
                scores.append(score)
                on_score(score)
            await fixtures.sibling.close()
    return scores


def _pool(tier: Tier, kernel: SuiteKernel) -> Any:
    if kernel == "stock":
        return BaselinePool(LIMITS)
    return KernelPool(size=1, limits=LIMITS, preload=(), tier=tier, kernel=kernel)


async def _start_sibling(pool: Any, fixtures: Fixtures) -> None:
    fixtures.sibling = sibling = await pool.acquire()
    values: dict[str, Any] = dict.fromkeys(("sibling", "sibling_file", "base"), "")
    if isinstance(pool, KernelPool):
        await sibling.put("note.txt", SECRET.encode())
        process = sibling.process
        base = process.server.base
        values = {"sibling": process.pid(), "sibling_file": f"{base}/{process.number}/note.txt", "base": base}
    fixtures.placeholders |= values
    watched = [pid for pid in (fixtures.victim.pid, values["sibling"]) if pid]
    fixtures.process_states = {pid: process_state(pid) for pid in watched}


async def _score(pool: Any, tier: Tier, kernel: SuiteKernel, case: Case, fixtures: Fixtures) -> Score:
    if kernel == "stock" and not case.harmless:
        return not_run(case, "on a bare machine only cases that read, connect, print or take time are run")
    if tier == "T0" and case.unsafe:
        return not_run(case, "would harm a machine without isolation")
    if kernel != "light" and case.group == "output":  # no output budget in the kernel: any end is acceptable
        case = replace(case, allowed=ENDS, check_result=None)
    if kernel == "ipykernel":  # over ZeroMQ the cut connection may be noticed before the death that cut it
        case = replace(case, allowed=(*case.allowed, "output_limit"))
    return await run_case(pool, kernel, case, fixtures)
