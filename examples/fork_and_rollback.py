"""Three ways to get a kernel's state twice: a fork, a checkpoint before each cell, and a replayed session log."""

import asyncio

from sandbox import KernelPool, SessionLog, restore


async def fork(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        await kernel.run("plan = ['look']")
        async with await kernel.fork() as branch:
            await branch.run("plan.append('guess')")
            print("branch:", (await branch.run("plan")).value)  # → ['look', 'guess']
        print("kernel:", (await kernel.run("plan")).value)  # → ['look']


async def survive(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        await kernel.run("rows = [1, 2, 3]")
        lost = await kernel.run("rows.clear(); import os; os._exit(1)")
        print(lost.status, lost.state_survived, lost.rolled_back)  # → died True True
        print("after:", (await kernel.run("rows")).value)  # → [1, 2, 3]


async def replay(pool: KernelPool) -> None:
    async with await pool.acquire(seed=7, record=True) as kernel:
        await kernel.run("import random; drawn = random.randint(0, 10**6)")
        drawn = (await kernel.run("drawn")).value
        text = kernel.recorder.log.dumps()  # JSON Lines; can be stored and read on another machine
    restored = await restore(pool, SessionLog.loads(text))
    async with restored.kernel as again:
        same = (await again.run("drawn")).value == drawn
        print("same state:", same, "- cells that differ:", len(restored.differences))


async def main() -> None:
    async with KernelPool(size=2, checkpoint=True) as pool:
        await fork(pool)
        await survive(pool)
        await replay(pool)


if __name__ == "__main__":
    asyncio.run(main())
