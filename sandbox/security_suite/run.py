"""Runs the battery against one tier and kernel, or against stock jupyter_client and ipykernel on the bare machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from sandbox.isolation.probe import Tier
from sandbox.pool import KernelPool
from sandbox.security_suite import escape, leaks, ordinary_work, protocol, resources
from sandbox.security_suite.baseline_kernel import StockPool
from sandbox.security_suite.case import ENDS, Case
from sandbox.security_suite.fixtures import SECRET, Scene, set_scene, standing
from sandbox.security_suite.verdict import LIMITS, Score, judge, not_run

CASES: tuple[Case, ...] = (
    *escape.FILES, *leaks.HANDED_DOWN, *escape.NETWORK, *escape.PROCESSES, *escape.KERNEL_CALLS,
    *resources.TIME, *resources.MEMORY, *resources.PROCESSES, *resources.DISK, *resources.OUTPUT,
    *protocol.DEATHS, *protocol.PROTOCOL, *protocol.PYTHON, *ordinary_work.WORK,
)  # fmt: skip
BattleKernel = Literal["light", "ipykernel", "stock"]


async def run_battery(
    tier: Tier,
    kernel: BattleKernel = "light",
    cases: Sequence[Case] | None = None,
    on_score: Callable[[Score], None] = lambda score: None,
) -> list[Score]:
    """Every case once, in order (:data:`CASES`). Cases that would harm the machine are not run where nothing isolates.

    ``stock`` has no tier: it promises nothing, and runs what only reads, connects, prints or takes time.
    """
    scores = []
    with set_scene() as scene:
        async with _pool(tier, kernel) as pool:
            await _bring_sibling(pool, scene)
            for case in CASES if cases is None else cases:
                score = await _one(pool, tier, kernel, case, scene)
                scores.append(score)
                on_score(score)
            await scene.sibling.close()
    return scores


def _pool(tier: Tier, kernel: BattleKernel) -> Any:
    if kernel == "stock":
        return StockPool(LIMITS)
    return KernelPool(size=1, limits=LIMITS, preload=(), tier=tier, kernel=kernel)


async def _bring_sibling(pool: Any, scene: Scene) -> None:
    scene.sibling = sibling = await pool.acquire()
    facts: dict[str, Any] = dict.fromkeys(("sibling", "sibling_file", "base"), "")
    if isinstance(pool, KernelPool):
        await sibling.put("note.txt", SECRET.encode())
        process = sibling.process
        base = process.server.base
        facts = {"sibling": process.pid(), "sibling_file": f"{base}/{process.number}/note.txt", "base": base}
    scene.facts |= facts
    looked_at = [pid for pid in (scene.victim.pid, facts["sibling"]) if pid]
    scene.standing = {pid: standing(pid) for pid in looked_at}


async def _one(pool: Any, tier: Tier, kernel: BattleKernel, case: Case, scene: Scene) -> Score:
    if kernel == "stock" and not case.harmless:
        return not_run(case, "a bare machine is given only what reads, connects, prints or takes time")
    if tier == "T0" and case.unsafe:
        return not_run(case, "would harm a machine without isolation")
    if kernel != "light" and case.group == "output":  # no budget inside: any end is a good one
        case = replace(case, allowed=ENDS, seen=None)
    if kernel == "ipykernel":  # over ZeroMQ a connection that is cut may be seen before the death that cut it
        case = replace(case, allowed=(*case.allowed, "output_limit"))
    return await judge(pool, kernel, case, scene)
