"""Signal handlers and timers that a cell leaves behind cost at most that cell."""

import asyncio
import signal

import pytest

from sandbox import KernelPool

pytestmark = pytest.mark.asyncio(loop_scope="module")
HANDLER = "import os, signal, time\nrung = []\ndef ring(*_):\n    rung.append(1)\n    raise TimeoutError('rung')\n"


@pytest.mark.parametrize(
    "timer", ["signal.alarm(1)", "signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)"], ids=["alarm", "repeated timer"]
)
async def test_a_timer_ends_with_its_cell(isolated: KernelPool, timer: str) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run(f"{HANDLER}signal.signal(signal.SIGALRM, ring)")
        assert (await kernel.run(f"{timer}\nwhile True: pass")).error_name == "TimeoutError"
        await kernel.run(f"{timer}\nrung.clear()")
        left = await kernel.run("rung, signal.getitimer(signal.ITIMER_REAL), signal.getsignal(signal.SIGALRM) is ring")
        assert left.value == "([], (0.0, 0.0), True)"


async def test_an_alarm_without_a_handler_does_not_end_a_later_cell(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run("import signal\nx = 5\nsignal.setitimer(signal.ITIMER_REAL, 0.3)")
        assert (await kernel.run("import time\ntime.sleep(0.6)\nx")).value == "5"


async def test_a_handler_that_raises_between_cells_costs_nothing(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run(f"{HANDLER}signal.signal(signal.SIGUSR1, ring)\nx = 5")
        assert kernel.process is not None
        process = kernel.process
        for expected in range(1, 51):
            process.signal(
                signal.SIGUSR1
            )  # arrives while the kernel finishes the cell before, waits or begins the next
            async with asyncio.timeout(20):
                while (await kernel.run("len(rung)")).value != str(expected):
                    assert kernel.process is process
        assert (await kernel.run("signal.getsignal(signal.SIGUSR1) is ring, x")).value == "(True, 5)"


async def test_the_next_cell_can_be_interrupted_although_the_last_one_ignored_it(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nx = 5")
        result = await kernel.run("while True: pass", timeout_s=0.2)
        assert (result.status, result.state_survived) == ("timeout_interrupted", True)
        await kernel.run("import faulthandler\nfaulthandler.dump_traceback_later(0.3, exit=True)")
        assert (await kernel.run("import time\ntime.sleep(0.6)\nx")).value == "5"


async def test_a_handler_that_raises_while_output_is_sent_costs_at_most_that_output(isolated: KernelPool) -> None:
    show = """
signal.setitimer(signal.ITIMER_REAL, {delay})
try:
    display({{"image/png": picture}}, raw=True)
    signal.setitimer(signal.ITIMER_REAL, 0)
except TimeoutError:
    pass
"""
    async with await isolated.acquire() as kernel:
        await kernel.run(f"{HANDLER}signal.signal(signal.SIGALRM, ring)\npicture = 'A' * 2_000_000")
        whole = await kernel.run(show.format(delay=0))
        for part in range(1, 16):  # of the time that sending takes
            result = await kernel.run(show.format(delay=whole.seconds * part / 15))
            assert result.status == "ok", (part, result.error_value)
            assert result.outputs in ((), whole.outputs), part
        assert (await kernel.run("len(picture)")).value == "2000000"
