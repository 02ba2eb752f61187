"""Admission of kernels by memory and number, the queue, and restarts of fork servers. Free memory is simulated."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import KernelPool, SandboxError, probe
from sandbox.host.admission import KERNEL_MIB, Admission
from sandbox.host.free_memory import free_mib, memory_cgroups
from sandbox.host.procfs import descendants

MEMORY = "sandbox.host.free_memory.free_mib"
MIB = 1 << 20
BEST = probe().tier


async def until(condition: Callable[[], bool]) -> None:
    """Polls a condition, for at most 30 s."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), 30)


def nothing() -> None:
    """A pool without warm kernels."""


async def test_the_queue_is_served_in_order_as_memory_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMORY, lambda: 100)
    admission = Admission(None, reserve_mib=100, timeout_s=30)
    served: list[int] = []

    async def wait(number: int) -> None:
        await admission.enter(nothing)
        served.append(number)

    waiting = [asyncio.ensure_future(wait(number)) for number in range(3)]
    await until(lambda: admission.waiting == 3)
    assert not admission.try_enter() and served == []
    monkeypatch.setattr(MEMORY, lambda: 100 + KERNEL_MIB)
    await asyncio.gather(*waiting)
    assert served == [0, 1, 2] and admission.kernels == 3 and admission.try_enter()


async def test_one_who_gives_up_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMORY, lambda: 1000)
    admission = Admission(1, reserve_mib=0, timeout_s=30)
    assert await admission.enter(nothing) is None
    first, second = (asyncio.ensure_future(admission.enter(nothing)) for _ in range(2))
    await until(lambda: admission.waiting == 2)
    first.cancel()
    await asyncio.wait([first])
    admission.leave()
    assert await second is None and admission.kernels == 1 and admission.waiting == 0


async def test_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMORY, lambda: 700)
    with pytest.raises(SandboxError, match=r"no kernel within 0.01 s: 700 MiB of memory are free, 1016 needed"):
        await Admission(None, reserve_mib=1000, timeout_s=0.01).enter(nothing)
    with pytest.raises(ValueError, match="max_kernels must be >= 2, the number kept ready"):
        KernelPool(size=2, max_kernels=1)


async def test_a_kernel_given_back_goes_to_the_first_who_waits() -> None:
    async with KernelPool(size=0, preload=(), tier=BEST, max_kernels=1, reserve_mib=0) as pool:
        kernel = await pool.acquire()
        first = asyncio.ensure_future(pool.acquire())
        await until(lambda: pool.waiting == 1)
        second = asyncio.ensure_future(pool.acquire())
        await until(lambda: pool.waiting == 2)
        await kernel.close()
        async with await first as mine:
            assert (await mine.run("1 + 1")).value == "2" and not second.done()
        async with await second as mine:
            assert (await mine.run("1 + 1")).value == "2"


async def test_warm_kernels_are_given_up_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEMORY, lambda: 1000)
    pool = KernelPool(size=2, preload=(), tier=BEST, max_kernels=3, reserve_mib=500, acquire_timeout_s=0.3)
    async with pool:
        await until(lambda: pool.ready == 2)
        async with await pool.acquire() as kernel:
            await until(lambda: pool.ready == 2)  # three are alive now, as many as may be
            await kernel.run("x = 7")
            async with await kernel.fork() as branch:
                assert (await branch.run("x")).value == "7" and pool.ready == 1
                monkeypatch.setattr(MEMORY, lambda: 400)
                async with await pool.acquire() as last:  # the last warm one; no memory for another
                    assert (await last.run("1 + 1")).value == "2"
                    with pytest.raises(SandboxError, match=r"no kernel within 0\.3 s"):
                        await pool.acquire()
                monkeypatch.setattr(MEMORY, lambda: 1000)
        await until(lambda: pool.ready == 2)
        monkeypatch.setattr(MEMORY, lambda: 400)
        async with await pool.acquire():
            await until(lambda: pool.ready == 0)


async def test_a_fork_server_that_dies_is_replaced_and_its_kernels_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with KernelPool(size=1, preload=(), tier=BEST) as pool:
        async with await pool.acquire() as kernel:
            await until(lambda: pool.ready == 1)
            dead = pool.server
            assert dead is not None and pool.lost == 0
            os.kill(dead.pid, signal.SIGKILL)
            await until(lambda: pool.lost == 2)
            await until(lambda: pool.server is not dead and pool.ready == 1)
            assert "the fork server died and 2 kernels with it" in caplog.text
            result = await kernel.run("1 + 1")
            assert result.status == "died" and not result.state_survived
            assert (await kernel.run("1 + 1")).value == "2"


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("victim", ["kernel", "fork server"])
async def test_a_warm_kernel_that_dies_leaves_nothing(checkpoint: bool, victim: str) -> None:
    async with KernelPool(size=1, preload=(), tier=BEST, checkpoint=checkpoint) as pool:

        def held() -> tuple[int, ...]:
            assert pool.server is not None
            kernels = len(descendants(pool.server.pid)) if pool.server.alive else 0
            return pool.ready, kernels, len(list(Path("/proc/self/fd").iterdir()))

        async with await pool.acquire() as kernel:
            await kernel.run("1")
        await until(lambda: pool.ready == 1)
        before = held()
        for _ in range(3):
            await until(lambda: pool.ready == 1)
            server = pool.server
            assert server is not None
            if victim == "kernel":
                (warm,) = pool.stats().warm_pids
                os.kill(warm, signal.SIGKILL)
                await until(lambda: pool.ready == 0)
            else:
                os.kill(server.pid, signal.SIGKILL)
                await asyncio.shield(server.died)
            await (await pool.acquire()).close()
        await until(lambda: held() == before)


async def test_a_fork_server_that_dies_over_a_fork_is_replaced_too() -> None:
    async with KernelPool(size=1, preload=(), tier=BEST) as pool:
        await until(lambda: pool.ready == 1)
        dead = pool.server
        assert dead is not None
        (forking,) = descendants(dead.pid)[:1]
        os.kill(forking, signal.SIGSTOP)
        async with await pool.acquire():
            await until(lambda: pool.stats().forking == 1)  # the next warm one, asked for and not answered
            os.kill(forking, signal.SIGKILL)
            await until(lambda: pool.ready == 1 and not Path(dead.base).exists())


async def test_free_memory_is_that_of_the_machine_or_less() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    assert 0 < free_mib() < total


@pytest.mark.parametrize(
    ("mount", "files", "left"),
    [
        ("unified", {"memory.max": "max", "memory.current": "5"}, None),
        ("unified", {"memory.max": 100 * MIB, "memory.current": 60 * MIB}, 60),
        ("memory", {"memory.limit_in_bytes": 9223372036854771712, "memory.usage_in_bytes": 5}, None),
        ("memory", {"memory.limit_in_bytes": 100 * MIB, "memory.usage_in_bytes": 60 * MIB}, 50),
        ("memory", {}, None),
    ],
)
async def test_free_memory_is_that_of_the_cgroups_around_too(
    mount: str, files: dict[str, object], left: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "above" / "own").mkdir(parents=True)
    cache = f"inactive_file {20 * MIB}\ntotal_inactive_file {10 * MIB}"
    for name, text in {**files, "memory.stat": cache}.items():
        (tmp_path / "above" / name).write_text(f"{text}\n")
    monkeypatch.setattr("sandbox.host.free_memory.controller_mounts", lambda: {mount: tmp_path})
    monkeypatch.setattr("sandbox.host.free_memory.own_paths", lambda: {"memory": "/above/own", "": "/above/own"})
    memory_cgroups.cache_clear()
    try:
        assert (free_mib() == left) if left else free_mib() > 100
    finally:
        memory_cgroups.cache_clear()
