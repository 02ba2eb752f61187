"""Calls a grader and makes a verdict of what it returns or raises.

Contract: :func:`judge` is for scripts and threads, :func:`judge_async` for coroutines. A grader with the attribute
``slow`` (it waits for a process) runs in a thread of :func:`judge_async`; the others take microseconds and run inline.
"""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor

from rollout.graders.processes import Ended
from rollout.graders.verdict import Verdict, right, wrong
from rollout.registry import GRADERS


def judge(grader: str, proposed: str, reference: str) -> Verdict:
    """The verdict of a registered grader on one proposed answer.

    Args:
        grader: its registered name.
        proposed: the text that the model proposed.
        reference: the task's answer, in the form that the grader reads.
    """
    grade = GRADERS.get(grader)
    try:
        said = grade(proposed, reference)
        if isinstance(said, Verdict):
            return said
        reward = float(said)
        if not math.isfinite(reward):
            raise ValueError(f"the reward is {reward}")
    except Ended as fault:
        return Verdict("none", f"no verdict: {fault}", fault=fault.fault)
    except Exception as fault:  # a grader may come from another package
        return Verdict("none", f"{type(fault).__name__}: {fault}", fault="task")
    if reward >= 1.0:
        return right(f"the grader {grader} accepts it", reward)
    return wrong(f"the grader {grader} gives it {reward:g}", reward)


async def judge_async(grader: str, proposed: str, reference: str) -> Verdict:
    """As :func:`judge`, without blocking the event loop."""
    if not getattr(GRADERS.get(grader), "slow", False):
        return judge(grader, proposed, reference)
    return await asyncio.get_running_loop().run_in_executor(_threads, judge, grader, proposed, reference)


_threads = ThreadPoolExecutor(4, thread_name_prefix="grader")
"""Its threads start when they are needed."""
