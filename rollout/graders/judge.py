"""Calls a grader and makes a verdict of what it returns or raises.

Contract: :func:`judge` is for scripts and threads, :func:`judge_async` for coroutines. A grader with the attribute
``slow`` (it waits for a process or a model) runs in a thread of :func:`judge_async`; the others take microseconds and
run inline. A grader with the coroutine ``in_kernels`` gets the kernels of the caller.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rollout.graders.processes import Ended
from rollout.graders.verdict import Verdict, right, wrong
from rollout.registry import GRADERS

if TYPE_CHECKING:
    from rollout.graders.code.kernels import Kernels


def judge(grader: str, proposed: str, reference: str, *, legacy: bool = False) -> Verdict:
    """The verdict of a registered grader on one proposed answer.

    Args:
        grader: its registered name.
        proposed: the text that the model proposed.
        reference: the task's answer, in the form that the grader reads.
        legacy: use the reference system's rule where it differs (:mod:`rollout.graders.legacy`).
    """
    grade = _find(grader, legacy)
    return _verdict(grader, lambda: grade(proposed, reference))


async def judge_async(
    grader: str, proposed: str, reference: str, *, legacy: bool = False, kernels: Kernels | None = None
) -> Verdict:
    """As :func:`judge`, without blocking the event loop.

    Args:
        kernels: where graders of code get fresh kernels; by default from a pool of this process.
    """
    grade = _find(grader, legacy)
    if kernels is not None and hasattr(grade, "in_kernels"):
        try:
            found = await grade.in_kernels(proposed, reference, kernels)
        except Exception as fault:
            return _no_verdict(fault)
        return _verdict(grader, lambda: found)
    if not getattr(grade, "slow", False):
        return judge(grader, proposed, reference, legacy=legacy)
    context = contextvars.copy_context()  # which says, for example, who judges by a rubric

    def call() -> Verdict:
        return context.run(judge, grader, proposed, reference, legacy=legacy)

    return await asyncio.get_running_loop().run_in_executor(_threads, call)


_threads = ThreadPoolExecutor(8, thread_name_prefix="grader")
"""Its threads start when they are needed."""


def _find(grader: str, legacy: bool) -> Any:
    if legacy:
        from rollout.graders.legacy import LEGACY

        if grader in LEGACY:
            return LEGACY[grader]
    return GRADERS.get(grader)


def _verdict(grader: str, grade: Callable[[], bool | float | Verdict]) -> Verdict:
    try:
        said = grade()
        if isinstance(said, Verdict):
            return said
        reward = float(said)
        if not math.isfinite(reward):
            raise ValueError(f"the reward is {reward}")
    except Exception as fault:  # a grader may come from another package
        return _no_verdict(fault)
    if reward >= 1.0:
        return right(f"the grader {grader} accepts it", reward)
    return wrong(f"the grader {grader} gives it {reward:g}", reward)


def _no_verdict(fault: Exception) -> Verdict:
    if isinstance(fault, Ended):
        return Verdict("none", f"no verdict: {fault}", fault=fault.fault)
    return Verdict("none", f"{type(fault).__name__}: {fault}", fault="task")
