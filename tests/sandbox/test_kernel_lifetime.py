"""Deaths, cancellations and closes of kernels and pools leave nothing behind."""

import asyncio
import os
import resource
from pathlib import Path

import pytest

from sandbox import Kernel, KernelPool, SandboxError

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_many_kernels_at_once(pool: KernelPool) -> None:
    async def episode(n: int) -> str | None:
        async with await pool.acquire() as kernel:
            await kernel.run(f"x = {n}")
            return (await kernel.run("x * 2")).value

    assert await asyncio.gather(*(episode(n) for n in range(12))) == [str(2 * n) for n in range(12)]


async def test_cancelling_a_run_ends_its_cell(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        await kernel.run("x = 1")
        task = asyncio.ensure_future(kernel.run("while True: pass"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await kernel.run("'x' in globals()")).value == "False"


async def test_a_closed_kernel_says_so(pool: KernelPool) -> None:
    kernel = await pool.acquire()
    await kernel.close()
    with pytest.raises(SandboxError, match="closed"):
        await kernel.run("1")


async def test_hundreds_of_requests_at_once_are_served_and_nothing_stays(pool: KernelPool) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    async def episode(n: int) -> str | None:
        async with await pool.acquire() as kernel:
            return (await kernel.run(f"{n}")).value

    assert await asyncio.gather(*(episode(n) for n in range(60))) == [str(n) for n in range(60)]
    tasks = [asyncio.ensure_future(pool.acquire()) for _ in range(20)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    kernels = [got for got in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(got, Kernel)]
    await asyncio.gather(*(kernel.close() for kernel in kernels))
    for _ in range(300):
        if len(list(Path("/proc/self/fd").iterdir())) <= before + 4 * 4:
            break
        await asyncio.sleep(0.02)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 4 * 4  # at most the warm kernels differ


async def test_dead_kernels_and_pools_closed_over_open_ones_do_not_disturb_the_next(pool: KernelPool) -> None:
    """The next socket with the same number must get its own events: a stale reader would make it wait for ever."""
    for _ in range(3):
        async with KernelPool(size=1, preload=(), tier=pool.tier) as short:
            forgotten = [await short.acquire() for _ in range(4)]
            await forgotten[0].run("1")
        kernels = await asyncio.gather(*(pool.acquire(tools={"one": lambda: 1}) for _ in range(6)))
        died = await asyncio.gather(*(kernel.run("import os; os._exit(1)") for kernel in kernels))
        assert {result.status for result in died} == {"died"}
        again = await asyncio.gather(*(kernel.run("one()", timeout_s=30) for kernel in kernels))
        assert {result.value for result in again} == {"1"}
        assert max(result.seconds for result in again) < 25
        await asyncio.gather(*(kernel.close() for kernel in kernels))


FLOOD = """
import os
line = get_ipython().transport.sock
if os.fork() == 0:
    try:
        while not os.path.exists('go'): pass
        while True: line.sendall(bytes(5) * 10_000)  # empty messages
    finally: os._exit(0)
"""


async def test_a_kernel_that_sends_without_end_between_its_cells_is_ended(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        assert (await kernel.run(FLOOD)).status == "ok"
        await kernel.put("go", b"")
        assert kernel.process is not None
        await asyncio.wait_for(asyncio.shield(kernel.process.exited), 30)
        lost = await kernel.run("1")
        assert (lost.status, lost.state_survived) == ("died", False)
        assert "sent without end" in lost.stderr
        assert (await kernel.run("2")).value == "2"


@pytest.mark.parametrize("checkpoint", [False, True])
async def test_a_kernel_closed_while_it_gets_another_process_leaves_none(checkpoint: bool) -> None:
    async with KernelPool(size=0, preload=(), checkpoint=checkpoint, max_kernels=1, acquire_timeout_s=30) as pool:
        kernel = await pool.acquire()
        cell = asyncio.ensure_future(kernel.run("import os; os._exit(1)"))
        assert kernel.process is not None
        await asyncio.shield(kernel.process.exited)
        await kernel.close()
        await asyncio.gather(cell, return_exceptions=True)
        async with await pool.acquire() as another:  # there is room again
            assert (await another.run("1")).value == "1"


async def test_a_fresh_process_has_all_its_files_or_is_not_used(pool: KernelPool) -> None:
    files = {f"{number}.txt": b"x" for number in range(300)}
    async with await pool.acquire(files=files, tools={"f": lambda: 1}) as kernel:
        await kernel.run("import os; os._exit(1)")
        given_up = asyncio.ensure_future(kernel.run("1"))
        while kernel.process is None and not given_up.done():
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert (await kernel.run("import glob; len(glob.glob('*.txt')), f()")).value == "(300, 1)"


async def test_a_branch_that_cannot_be_seeded_is_gone() -> None:
    async with KernelPool(size=0, preload=(), max_kernels=2, acquire_timeout_s=30) as pool:
        async with await pool.acquire() as kernel:
            await kernel.run("import random\ndef seed(*_): raise OSError\nrandom.seed = seed")
            with pytest.raises(SandboxError):
                await kernel.fork(reseed=True)
            async with await kernel.fork() as branch:  # there is room again
                assert (await branch.run("1")).value == "1"


async def test_a_pool_given_up_while_it_starts_leaves_nothing() -> None:
    pool = KernelPool(size=0, preload=())
    starting = asyncio.ensure_future(pool.start())
    while pool.server is None or not pool.server.alive:
        await asyncio.sleep(0.001)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    with pytest.raises(ProcessLookupError):
        os.kill(pool.server.pid, 0)
    assert not Path(pool.server.base).exists()


async def test_without_descriptors_an_acquire_says_so_and_leaves_nothing(pool: KernelPool) -> None:
    kept = []
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with KernelPool(size=0, preload=()) as own:
        async with await own.acquire() as kernel:
            resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 8, before[1]))
            try:
                with pytest.raises(SandboxError, match="Too many open files"):
                    while True:
                        kept.append(await own.acquire())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            assert (await kernel.run("1")).value == "1"
            for one in kept:
                await one.close()
            async with await own.acquire() as another:
                assert (await another.run("2")).value == "2"
