"""Answers questions of WikiTableQuestions with the scripted expert, in kernels, with pandas and with sqlite.

    python benchmarks/wtq_experts.py --questions 700 --need 200

Takes the first questions of the test that the expert tries, runs two episodes for each (one a kind) through the
family's set-up code, kernels and grader, and prints how many are judged right. The expert never sees an answer. Exit
code 1 when fewer than ``--need`` questions are right in both kinds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from pathlib import Path

from rollout.config import WorkerConfig
from rollout.engines.spec import ExpertSpec
from rollout.episode import run_episode
from rollout.families import Task
from rollout.families.wikitablequestions import generate
from rollout.kernel_source import open_kernel_source
from rollout.protocol import EpisodeProtocol
from rollout.trajectory import Sampling, Trajectory


async def run(tasks: list[Task], at_once: int) -> list[Trajectory]:
    """An episode of the expert for each task."""
    protocol, spec, gate = EpisodeProtocol(checkpoint=False), ExpertSpec(error_share=0.0), asyncio.Semaphore(at_once)
    pool = await open_kernel_source(WorkerConfig(warm_kernels=at_once, kernel_memory_mib=256), protocol, None)

    async def one(task: Task) -> Trajectory:
        async with gate:
            return await run_episode(task, spec.build(task), pool, protocol, Sampling())

    try:
        return await asyncio.gather(*map(one, tasks))
    finally:
        await pool.close()


def main() -> int:
    """Runs and prints; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=700, help="questions that the expert tries")
    parser.add_argument("--need", type=int, default=200, help="questions that must be right in both kinds")
    parser.add_argument("--at-once", type=int, default=4, help="episodes at once")
    parser.add_argument("--data-root", type=Path, default=None, help="folder of data sets")
    chosen = parser.parse_args()
    tasks = generate.with_options({"expert": True}).load("test", chosen.data_root).tasks[: 2 * chosen.questions]
    began = time.monotonic()
    episodes = asyncio.run(run(tasks, chosen.at_once))
    right = {episode.task.id for episode in episodes if episode.outcome.success}
    questions = [task.id.removesuffix("-pandas") for task in tasks if task.kind == "pandas"]
    both = [name for name in questions if {f"{name}-pandas", f"{name}-sqlite"} <= right]
    for kind in ("pandas", "sqlite"):
        print(f"{kind}: {sum(name.endswith(kind) for name in right)} of {len(questions)} questions right")
    print(f"both: {len(both)} of {len(questions)} questions right; {time.monotonic() - began:.0f} s")
    print("endings:", dict(Counter(episode.outcome.reason for episode in episodes)))
    return 0 if len(both) >= chosen.need else 1


if __name__ == "__main__":
    sys.exit(main())
