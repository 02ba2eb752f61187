"""Answers tasks about tables with their scripted experts, in kernels.

    python benchmarks/table_experts.py wikitablequestions --questions 700 --need 200
    python benchmarks/table_experts.py dbbench --need 239

Of WikiTableQuestions it takes the first questions of the test that the expert tries, and runs two episodes for each:
with pandas and with sqlite; the expert never sees an answer. Of DBBench it runs the published statement of every
change. Episodes go through the family's set-up code, kernels and grader. Printed is how many are judged right. Exit
code 1 when fewer than ``--need`` questions (in both kinds) or changes are right.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from pathlib import Path

from rollout.bank.trajectory import Sampling, Trajectory
from rollout.config import WorkerConfig
from rollout.engines.spec import ExpertSpec
from rollout.episode.loop import run_episode
from rollout.families import Task
from rollout.families.dbbench import generate as dbbench
from rollout.families.wikitablequestions import generate as wikitablequestions
from rollout.kernel_source import open_kernel_source
from rollout.protocol import EpisodeProtocol


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


def wikitablequestions_tasks(data_root: Path | None, questions: int) -> list[Task]:
    """Two tasks for each of the first questions that the expert tries."""
    return wikitablequestions.with_options({"expert": True}).load("test", data_root).tasks[: 2 * questions]


def dbbench_tasks(data_root: Path | None) -> list[Task]:
    """Every change whose published statement gives the published result in sqlite."""
    return [task for split in ("dev", "standard") for task in dbbench.load(split, data_root).tasks if task.expert]


def main() -> int:
    """Runs and prints; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=("wikitablequestions", "dbbench"))
    parser.add_argument("--questions", type=int, default=700, help="questions of WikiTableQuestions to try")
    parser.add_argument("--need", type=int, default=200, help="questions or changes that must be right")
    parser.add_argument("--at-once", type=int, default=4, help="episodes at once")
    parser.add_argument("--data-root", type=Path, default=None, help="folder of data sets")
    chosen = parser.parse_args()
    if chosen.family == "dbbench":
        tasks = dbbench_tasks(chosen.data_root)
    else:
        tasks = wikitablequestions_tasks(chosen.data_root, chosen.questions)
    began = time.monotonic()
    episodes = asyncio.run(run(tasks, chosen.at_once))
    asked = Counter(task.kind for task in tasks)
    solved = [episode.task for episode in episodes if episode.outcome.success]
    for kind, count in Counter(task.kind for task in solved).items():
        print(f"{kind}: {count} of {asked[kind]} right")
    right = Counter((task.split, task.id.removesuffix(f"-{task.kind}")) for task in solved)
    whole = sum(count == len(asked) or chosen.family == "dbbench" for count in right.values())
    print(f"{whole} right in all; {time.monotonic() - began:.0f} s")
    print("endings:", dict(Counter(episode.outcome.reason for episode in episodes)))
    return 0 if whole >= chosen.need else 1


if __name__ == "__main__":
    sys.exit(main())
