"""An interrupt ends what a cell runs, as in a terminal, and nothing else."""

import asyncio

import pytest

from sandbox import Kernel, KernelPool
from sandbox.host.procfs import descendants, read_stat

pytestmark = pytest.mark.asyncio(loop_scope="module")
COMMANDS = {
    "an exclamation mark": "!sleep 1000",
    "its output": "y = !sleep 1000",
    "os.system": "import os\nos.system('sleep 1000')\nprint('after')",
    "subprocess": "import subprocess\nsubprocess.run(['sleep', '1000'])",
    "a script": "%%bash\nsleep 1000\necho after",
    "a pool": "import multiprocessing, time\nworkers = [multiprocessing.Process(target=time.sleep, args=(1000,))"
    " for _ in range(2)]\nfor each in workers: each.start()\nfor each in workers: each.join()",
}
DEAF_COMMANDS = {
    "a shell and its child": "!trap '' INT; sleep 1000; echo after",
    "a script": "%%bash\ntrap '' INT\nsleep 1000\necho after",
    "a shell below a shell": "!bash -c \"trap '' INT; bash -c 'sleep 1000; echo one'; echo two\"; echo three",
    "the C library's call": "import ctypes\nctypes.CDLL(None).system(b\"trap '' INT; sleep 1000; echo after\")",
}


async def until_it_runs(kernel: Kernel, *, anything: bool) -> None:
    """Waits until the kernel has processes of its cells, or until none is left."""
    assert kernel.process is not None
    async with asyncio.timeout(20):
        while True:
            stats = map(read_stat, descendants(kernel.process.pid()))
            if any(stat is not None and stat.state not in "ZX" for stat in stats) == anything:
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("code", COMMANDS.values(), ids=COMMANDS)
async def test_the_time_limit_ends_a_cells_commands(isolated: KernelPool, code: str) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run("x = [1]")
        result = await kernel.run(code, timeout_s=0.5)
        assert (result.status, result.error_name, result.stdout) == ("timeout_interrupted", "KeyboardInterrupt", "")
        await until_it_runs(kernel, anything=False)
        assert (await kernel.run("x")).value == "[1]"


@pytest.mark.parametrize("code", DEAF_COMMANDS.values(), ids=DEAF_COMMANDS)
async def test_commands_that_ignore_interrupts_are_killed(isolated: KernelPool, code: str) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run("x = [1]")
        result = await kernel.run(code, timeout_s=0.5)
        assert (result.status, result.state_survived) == ("timeout_interrupted", True)
        await until_it_runs(kernel, anything=False)
        assert (await kernel.run("x")).value == "[1]"


@pytest.mark.parametrize("code", ["!sleep 1000", "%%bash\nsleep 1000"], ids=["an exclamation mark", "a script"])
async def test_an_interrupt_ends_a_command(isolated: KernelPool, code: str) -> None:
    async with await isolated.acquire() as kernel:
        cell = asyncio.ensure_future(kernel.run(code))
        await until_it_runs(kernel, anything=True)
        assert await kernel.interrupt()
        result = await cell
        assert (result.status, result.error_name, result.state_survived) == ("error", "KeyboardInterrupt", True)
        await until_it_runs(kernel, anything=False)


STARTED = {"an exclamation mark": "!exec sleep 1000", "a script": "%%bash\nexec sleep 1000"}
INTERRUPTED = """import os, signal, subprocess
class Interrupted(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
subprocess.Popen = Interrupted"""


@pytest.mark.parametrize("code", STARTED.values(), ids=STARTED)
async def test_an_interrupt_while_a_command_starts_ends_it(isolated: KernelPool, code: str) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run(INTERRUPTED)
        result = await kernel.run(code)
        assert (result.status, result.error_name, result.state_survived) == ("error", "KeyboardInterrupt", True)
        await until_it_runs(kernel, anything=False)


async def test_a_program_in_its_own_session_or_deaf_to_interrupts_lives_on(isolated: KernelPool) -> None:
    own = "" if isolated.tier == "T1" else ", start_new_session=True"  # there it is denied
    async with await isolated.acquire() as kernel:
        await kernel.run(
            f"import subprocess\none = subprocess.Popen(['sh', '-c', \"trap '' INT; exec sleep 1000\"]{own})"
        )
        await until_it_runs(kernel, anything=True)
        assert (await kernel.run("while True: pass", timeout_s=0.3)).status == "timeout_interrupted"
        assert (await kernel.run("one.poll() is None, one.kill(), one.wait()")).value == "(True, None, -9)"


async def test_an_interrupt_of_a_branch_is_its_own(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel, await kernel.fork() as branch, await branch.fork() as second:
        others = [asyncio.ensure_future(each.run("!sleep 1; echo done")) for each in (kernel, second)]
        result = await branch.run("!sleep 1000", timeout_s=0.3)
        assert (result.status, result.error_name) == ("timeout_interrupted", "KeyboardInterrupt")
        assert [(await each).stdout for each in others] == ["done\n", "done\n"]


async def test_what_a_script_prints_goes_where_it_is_asked_to(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        result = await kernel.run("%%bash\necho one; echo two >&2\nexit 3")
        assert (result.stdout, result.stderr, result.error_name) == ("one\n", "two\n", "CalledProcessError")
        await kernel.run("%%bash --out out --err err --no-raise-error\necho three; echo four >&2; exit 4")
        assert (await kernel.run("out, err")).value == "('three\\n', 'four\\n')"
        assert "find program" in (await kernel.run("%%script no-such-program\nx")).stdout
        assert (await kernel.run("y = !echo five; echo six >&2\ny")).value == "['five', 'six']"
        assert (await kernel.run("import os\nos.system('exit 7'), os.system('kill -9 $$')")).value == "(1792, 9)"
        await kernel.run("!exit 8")
        assert (await kernel.run("_exit_code")).value == "8"
        threads = await kernel.run("import threading\nthreading.active_count()")
        assert threads.value == "1"
