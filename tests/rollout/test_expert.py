"""The expert demonstrates every kind of task in real kernels, and its episodes are what the family promises."""

import asyncio

import pytest

from rollout.bank.trajectory import Sampling, Trajectory
from rollout.engines.spec import ExpertSpec
from rollout.episode.loop import run_episode
from rollout.families import TaskSet, load_tasks
from rollout.families.base import Task
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def demonstrate(tasks: list[Task], pool: KernelSource, error_share: float = 0.0) -> list[Trajectory]:
    spec, at_once = ExpertSpec(error_share=error_share), asyncio.Semaphore(8)

    async def one(task: Task) -> Trajectory:
        async with at_once:
            return await run_episode(task, spec.build(task), pool, EpisodeProtocol(), Sampling())

    return await asyncio.gather(*map(one, tasks))


async def test_every_task_can_be_solved_and_needs_the_cells_it_says(pool: KernelSource) -> None:
    tasks = load_tasks(TaskSet(count=48)) + load_tasks(TaskSet(split="heldout", count=60))
    episodes = await demonstrate(tasks, pool)
    assert [episode.outcome for episode in episodes if not episode.outcome.success] == []
    assert all(episode.usage.cells >= task.min_cells for task, episode in zip(tasks, episodes, strict=True))
    for task, episode in zip(tasks, episodes, strict=True):
        assert (episode.usage.error_cells > 0) == task.fails_first, task.id


async def test_it_errs_first_on_its_share_and_repairs(pool: KernelSource) -> None:
    tasks = [task for task in load_tasks(TaskSet(count=48, seed=1)) if not task.fails_first]
    episodes = await demonstrate(tasks, pool, error_share=1.0)
    assert all(episode.outcome.success for episode in episodes)
    erred = [episode.usage.error_cells > 0 for episode in episodes]
    assert sum(erred) >= 0.9 * len(erred)  # a table whose columns are called as in the question forgives the guess


async def test_it_says_the_same_when_asked_again_from_any_point(pool: KernelSource) -> None:
    task = load_tasks(TaskSet(count=1))[0]
    (episode,) = await demonstrate([task], pool)
    for turn, message in enumerate(episode.messages):
        if message.role == "assistant":
            engine = ExpertSpec(error_share=0.0).build(task)
            again = await engine.complete(episode.messages[:turn], Sampling(), session="x")
            assert again.text == message.content
