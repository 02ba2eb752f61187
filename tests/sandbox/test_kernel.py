"""Kernels: state, limits, time limits, invalid arguments."""

import pytest

from sandbox import KernelPool

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_state_lives_from_cell_to_cell_and_values_are_text(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        assert (await kernel.run("x = [1, 2]")).status == "ok"
        result = await kernel.run("print('one'); import sys; print('two', file=sys.stderr); x")
    assert (result.stdout, result.stderr, result.value) == ("one\n", "two\n", "[1, 2]")
    assert result.state_survived and result.error_name is None


async def test_what_filled_the_memory_is_given_back(pool: KernelPool) -> None:
    greedy = "def greedy():\n    held = []\n    while True: held.append(bytearray(b'x') * (1 << 20))"
    async with await pool.acquire() as kernel:
        await kernel.run(greedy)
        for _ in range(2):
            assert (await kernel.run("greedy()")).error_name == "MemoryError"
            assert (await kernel.run("len(bytearray(b'x') * (100 << 20))")).value == str(100 << 20)


async def test_a_cell_that_ignores_interrupts_is_killed(pool: KernelPool) -> None:
    async with await pool.acquire(files={"a.txt": b"first"}) as kernel:
        code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
        result = await kernel.run(code, timeout_s=0.3)
        assert (result.status, result.state_survived) == ("timeout_killed", False)
        assert (await kernel.run("open('a.txt').read()")).value == "'first'"


async def test_a_death_is_seen_and_the_handle_goes_on(pool: KernelPool) -> None:
    async with await pool.acquire(tools={"one": lambda: 1}) as kernel:
        assert (await kernel.run("import os; os._exit(3)")).status == "died"
        assert (await kernel.run("import ctypes; ctypes.string_at(0)")).status == "died"
        assert (await kernel.run("one()")).value == "1"


async def test_asking_for_input_or_exit_does_not_end_the_kernel(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        assert (await kernel.run("input('name? ')")).error_name == "EOFError"
        assert (await kernel.run("exit()")).error_name == "SystemExit"
        assert (await kernel.run("1 + 1")).value == "2"


async def test_memory_is_limited_and_state_survives(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run("x = 1\nblock = bytearray(3 << 30)")
        assert result.error_name == "MemoryError" and result.state_survived
        assert (await kernel.run("x")).value == "1"


async def test_kernels_do_not_share_random_numbers(pool: KernelPool) -> None:
    code = "import random, numpy\nrandom.random(), float(numpy.random.rand())"
    async with await pool.acquire() as one, await pool.acquire() as two:
        assert (await one.run(code)).value != (await two.run(code)).value


async def test_a_kernel_has_the_signals_of_any_process(pool: KernelPool) -> None:
    code = "import signal\n[signal.getsignal(n) is signal.SIG_DFL for n in (signal.SIGCHLD, signal.SIGTERM)]"
    async with await pool.acquire() as kernel:
        assert (await kernel.run(code)).value == "[True, True]"


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan")])
async def test_a_time_limit_that_is_none_is_refused(pool: KernelPool, timeout_s: float) -> None:
    async with await pool.acquire() as kernel:
        with pytest.raises(ValueError, match="timeout_s must be > 0"):
            await kernel.run("1", timeout_s=timeout_s)


async def test_what_there_is_none_of_is_named(pool: KernelPool) -> None:
    with pytest.raises(ValueError, match="kernel must be one of light, ipykernel"):
        KernelPool(kernel="foo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"seed must be an integer in \[0, 2\*\*32\) \(got 1\.5\)"):
        await pool.acquire(seed=1.5)  # type: ignore[arg-type]
