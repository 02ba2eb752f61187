"""A task family: a function that generates tasks. Here, sums that the kernel holds as a list, with an expert."""

import asyncio
from random import Random

import rollout
from rollout import EpisodeProtocol, Sampling, Task, TaskSet
from rollout.engines import ExpertSpec


def generate(split: str, count: int, seed: int, kinds: tuple[str, ...] | None = None) -> list[Task]:
    """The same tasks for the same arguments; no task in both splits."""
    rng = Random(f"sums/{split}/{seed}")
    return [make_task(split, f"{split}-{seed}-{number}", rng) for number in range(count)]


def make_task(split: str, name: str, rng: Random) -> Task:
    parity = 0 if split == "train" else 1  # training tasks have an even first number, held-out ones an odd one
    numbers = [2 * rng.randrange(50) + parity, *rng.sample(range(100), 4)]
    return Task(
        family="sums",
        kind="sum",
        split=split,
        group="trained",
        id=name,
        prompt="What is the sum of the list `numbers`?",
        answer=str(sum(numbers)),
        grader="number",
        setup=f"numbers = {numbers}",  # runs in the kernel before the first turn
        expert=demonstrate,
    )


def demonstrate(make_mistake: bool):
    """Yields assistant turns and receives observations; with it, `engine: expert` collects demonstrations."""
    result = yield "I add them.\n<execute>\nprint(sum(numbers))\n</execute>"
    yield f"<solution>{result.strip()}</solution>"


async def main() -> None:
    rollout.TASK_FAMILIES.add("sums", generate)  # a package registers it as an entry point instead
    task = rollout.load_tasks(TaskSet(family="sums", count=3))[0]
    protocol = EpisodeProtocol()
    kernels = await rollout.open_kernel_source(rollout.WorkerConfig(warm_kernels=1), protocol, None)
    engine = ExpertSpec(error_share=0.0).build(task)
    episode = await rollout.run_episode(task, engine, kernels, protocol, Sampling())
    await kernels.close()
    print(f"{task.id}: {episode.outcome.reason}, reward {episode.outcome.reward}")  # → solved, reward 1.0


if __name__ == "__main__":
    asyncio.run(main())
