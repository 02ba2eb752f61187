"""A checkpoint before each cell: what a cell that kills its process changes and what it does not."""

import asyncio
import signal
from pathlib import Path

import pytest

from sandbox import Kernel, KernelPool
from tests.helpers.checkpoints import EXIT

pytestmark = pytest.mark.asyncio(loop_scope="module")
SEGFAULT = "import ctypes\nctypes.string_at(0)"
DEAF = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\nwhile True: pass"
FORGED = "import sys\nsys.stdout._transport.sock.sendall(b'\\0\\0\\0\\5\\0{{{{{')\nwhile True: pass"
SHARED = """import mmap
held = [mmap.mmap(-1, 64 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) for _ in range(9)]
for each in held:
    for at in range(0, len(each), 4096):
        each[at] = 1"""
HUNG_UP = "import os, sys\nos.close(sys.stdout._transport.sock.fileno())\nwhile True: pass"
PROGRAMS = """import subprocess, sys, time
hog = [sys.executable, '-I', '-S', '-c', "import time; held = bytearray(b'x') * (50 << 20); time.sleep(60)"]
hogs = [subprocess.Popen(hog) for _ in range(8)]
time.sleep(60)"""
CHILDREN = """import os, time
for _ in range(6):
    if os.fork() == 0:
        held = bytearray(b'x') * (60 << 20)
        time.sleep(60)
time.sleep(60)"""
DAEMON = """import ctypes, os, time
if os.fork() == 0:
    if {leave}:
        os.setsid()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(15, b'\\xff) R')  # its name
        for fd in (1, 2):
            os.close(fd)
        while True:
            open('beat', 'w').write(str(time.time()))
            time.sleep(0.001)
    os._exit(0)
while not os.path.exists('beat'): pass
os._exit(1)"""
SEEN = """def look(path):
    return os.readlink(path) if os.path.islink(path) else (open(path).read(), oct(os.stat(path).st_mode))
sorted((top, sorted(inner), [look(f'{top}/{name}') for name in sorted(names)]) for top, inner, names in os.walk('.'))"""

CLOSED = """import os
def make(path, text, mode):
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, mode), 'w') as file: file.write(text)
for folder in ('ro', 'blind'):
    os.mkdir(folder, 0o755)
os.mkdir('priv', 0o300)
make('ro/data', '1', 0o644); make('blind/in', '2', 0o444); make('priv/in', '4', 0o644); make('w', '3', 0o200)
os.chmod('ro', 0o555); os.chmod('blind', 0o311)
names = ('.', 'ro', 'ro/data', 'blind', 'blind/in', 'priv', 'priv/in', 'w')
def seen(): return [(name, oct(os.stat(name).st_mode), os.stat(name).st_size) for name in names]
seen()"""
CLOSING = """for name in ('blind/in', 'w', 'ro', 'blind', 'priv', '.'):
    os.chmod(name, 0o700)
    if name in ('w', 'blind/in') and os.access(name, os.W_OK):  # not where chmod only seems to work
        open(name, 'w').close()
    os.chmod(name, 0)
os._exit(1)"""


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (EXIT, "died"),
        (SEGFAULT, "died"),
        (DEAF, "timeout_killed"),
        (FORGED, "protocol_violation"),
    ],
    ids=["exit", "segfault", "deaf loop", "forged message"],
)
async def test_a_fatal_cell_costs_only_itself(keeping: KernelPool, code: str, status: str) -> None:
    async with await keeping.acquire(tools={"double": lambda x: 2 * x}) as kernel:
        await kernel.run("x = [1, 2]\ndef f(): return sum(x)\nimport math")
        await kernel.run("x.append(3)")
        for _ in range(2):
            result = await kernel.run(f"x.clear()\n{code}", timeout_s=0.3 if code == DEAF else None)
            assert (result.status, result.state_survived, result.rolled_back) == (status, True, True)
        after = await kernel.run("print('on')\n!echo raw\nx, f(), math.pi > 3, double(4)")
        awaited = await kernel.run("import asyncio\nawait asyncio.to_thread(sum, x)")
    assert (after.value, after.stdout, after.rolled_back) == ("([1, 2, 3], 6, True, 8)", "on\nraw\n", False)
    assert awaited.value == "6"


async def test_a_cell_that_uses_up_the_memory_costs_only_itself(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run("kept = bytearray(b'k') * (90 << 20)")
        for code in (SHARED, PROGRAMS) if keeping.tier == "T3" else (CHILDREN,):
            result = await kernel.run(code)
            assert (result.status, result.rolled_back) == ("out_of_memory", True)
            assert (await kernel.run("len(kept) >> 20, kept[-1:]")).value == "(90, bytearray(b'k'))"
        ended = await kernel.run(EXIT)  # and what was killed before is not held against the next
    assert (ended.status, ended.rolled_back) == ("died", True)


async def test_files_are_as_before_the_fatal_cell(keeping: KernelPool) -> None:
    async with await keeping.acquire(files={"table.csv": b"a,b\n", "in/deep.txt": b"deep"}) as kernel:
        await kernel.run("import os\nopen('same', 'w').write('1234'); os.chmod('same', 0o640)")
        await kernel.run("os.symlink('table.csv', 'link'); os.link('table.csv', 'hard')")
        await kernel.put("put.txt", b"by the host")
        await kernel.run("table = os.open('table.csv', os.O_RDONLY); os.read(table, 1)")
        await kernel.run("log = open('log', 'a+'); log.write('one\\n'); log.flush()")
        seen = (await kernel.run(SEEN)).value
        fatal = (
            "open('same', 'w').write('4321'); os.remove('table.csv'); os.mkdir('table.csv'); os.remove('link')\n"
            "import shutil; shutil.rmtree('in'); open('in', 'w').write('a file now'); open('new', 'w').close()\n"
            "os.remove('put.txt'); os.mkdir('nest'); open('nest/x', 'w').close(); os.mkfifo('pipe')\n"
            "log.write('two\\n'); log.flush(); os.read(table, 9); os.mkdir('gone'); os.chdir('gone')\n" + EXIT
        )
        for _ in range(2):
            assert (await kernel.run(fatal)).rolled_back
            assert (await kernel.run(SEEN)).value == seen
        assert (await kernel.run("log.write('three\\n'); log.flush(); open('log').read()")).value == "'one\\nthree\\n'"
        assert (await kernel.run("os.read(table, 9)")).value == "b',b\\n'"
        assert await kernel.get("put.txt") == b"by the host"
        files = {path.name for path in Path(keeping.server.base).glob("snapshot-*/*")} if keeping.server else set()
        assert files
    assert not list(Path(keeping.server.base).glob("snapshot-*")) if keeping.server else False


@pytest.mark.parametrize("fatal", [EXIT, "os.chmod('ro', 0o755); os.remove('ro/data')\n" + EXIT, CLOSING],
                         ids=["nothing changed", "a read-only folder changed", "all closed"])  # fmt: skip
async def test_file_modes_that_exclude_the_owner_do_not_hinder_checkpoints(keeping: KernelPool, fatal: str) -> None:
    async with await keeping.acquire() as kernel:
        modes = (await kernel.run(CLOSED)).value
        for _ in range(2):
            assert (await kernel.run("seen()")).value == modes
            result = await kernel.run(fatal)
            assert (result.rolled_back, result.stderr) == (True, "")
        assert (await kernel.run("seen()")).value == modes
        read = await kernel.run("[open(name).read() for name in ('ro/data', 'blind/in', 'priv/in')]")
        assert read.value == "['1', '2', '4']"


@pytest.mark.parametrize("leave", [True, False], ids=["own session", "orphan"])
async def test_what_the_fatal_cell_started_is_gone(keeping: KernelPool, leave: bool) -> None:
    leave = leave and keeping.tier != "T1"  # there it is denied
    async with await keeping.acquire() as kernel:
        await kernel.run("import os, time")
        assert (await kernel.run(DAEMON.format(leave=leave))).rolled_back
        assert (await kernel.run("time.sleep(0.05); os.path.exists('beat')")).value == "False"


async def test_siblings_and_branches_go_on_and_can_be_rolled_back_themselves(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel, await keeping.acquire() as sibling:
        await kernel.run("x = 1\nopen('f', 'w').write('kernel')\nimport os, subprocess, time")
        branch = await kernel.fork()
        await branch.run("x = 2\nopen('f', 'w').write('branch')\nwork = subprocess.Popen(['sleep', '100'])")
        running = asyncio.ensure_future(branch.run("time.sleep(0.5); work.poll(), x, open('f').read()"))
        busy = asyncio.ensure_future(sibling.run("import time; time.sleep(0.5); 7"))
        assert (await kernel.run(EXIT)).rolled_back
        assert ((await running).value, (await busy).value) == ("(None, 2, 'branch')", "7")
        assert (await kernel.run("x, open('f').read()")).value == "(1, 'kernel')"
        assert (await branch.run("os.remove('f')\n" + EXIT)).rolled_back
        assert (await branch.run("x, open('f').read()")).value == "(2, 'branch')"
        await kernel.close()
        assert (await branch.run("x")).value == "2"
        await branch.close()


async def test_pipes_end_although_a_copy_sleeps(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run(
            "import subprocess\ncat = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)"
        )
        assert (await kernel.run("cat.communicate(b'through')[0]", timeout_s=5)).value == "b'through'"
        await kernel.run("import os\npid = os.fork()\nif pid == 0: os._exit(7)")
        assert (await kernel.run("os.waitstatus_to_exitcode(os.wait()[1])", timeout_s=5)).value == "7"


async def test_a_cancelled_cell_is_rolled_back(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run("x = 5")
        running = asyncio.ensure_future(kernel.run("x = 6\nwhile True: pass"))
        await _begun(kernel)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await kernel.run("x")).value == "5"


async def test_without_a_checkpoint_the_state_is_lost_and_the_reason_given(keeping: KernelPool) -> None:
    async with await keeping.acquire(files={"a": b"1"}) as kernel:
        await kernel.run("x = 1\nfor n in range(3): open(f'big{n}', 'wb').truncate(15 << 20)")
        result = await kernel.run(EXIT)
        assert (result.state_survived, result.rolled_back) == (False, False)
        assert "no checkpoint to go back to: the files are more than 16 MiB" in result.stderr
        assert (await kernel.run("'x' in globals(), open('a').read()")).value == "(False, '1')"
        assert (await kernel.run(EXIT)).rolled_back


async def test_a_kernel_with_all_its_files_open_is_rolled_back(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run(
            "x, files = 5, []\ntry:\n    while True: files.append(open('/dev/null'))\nexcept OSError: pass"
        )
        assert (await kernel.run(f"x = 6\n{EXIT}")).rolled_back
        assert (await kernel.run("x, files.pop().close()")).value == "(5, None)"


@pytest.mark.parametrize(
    "ground",
    ["open('.raw', 'w').close()", "os.chmod('.', 0o500)"],
    ids=["a file of that name", "a closed folder"],
)
async def test_output_is_stored_in_any_kind_of_workspace(keeping: KernelPool, ground: str) -> None:
    async with await keeping.acquire() as kernel:
        before = (await kernel.run(f"import os\nx = 5\n{ground}\nsorted(os.listdir())")).value
        branch = await kernel.fork()
        printed = await branch.run("os.system('echo raw')\nx, sorted(os.listdir())")
        assert (printed.value, printed.stdout) == (f"(5, {before})", "raw\n")
        await branch.close()
        for _ in range(2):
            assert (await kernel.run(f"os.system('echo dropped')\n{EXIT}")).rolled_back
            printed = await kernel.run("os.system('echo raw')\nx")
            assert (printed.value, printed.stdout) == ("5", "raw\n")


async def test_a_workspace_without_an_inode_left_is_rolled_back(keeping: KernelPool) -> None:
    if keeping.tier == "T1":
        pytest.skip("there the number of files is watched")
    async with await keeping.acquire() as kernel:
        await kernel.run("x = 5")
        assert (await kernel.run("for n in range(300): open(f'{n}', 'w').close()")).error_name == "OSError"
        assert (await kernel.run(EXIT)).rolled_back
        assert (await kernel.run("x, n > 190")).value == "(5, True)"


async def test_a_flood_of_the_fatal_cell_leaves_room_for_the_next(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run("import os")
        assert (await kernel.run(f"os.system('yes | head -c {20 << 20}')\n{EXIT}")).rolled_back
        assert (await kernel.run("os.system('echo raw')")).stdout == "raw\n"
        await kernel.run("log = os.open('log', os.O_CREAT | os.O_RDWR)\nos.write(log, b'kept')\nos.dup2(log, 1)")
        assert (await kernel.run(EXIT)).rolled_back
        assert (await kernel.run("open('log').read()")).value == "'kept'"


async def test_a_kernel_that_forges_its_forks_word_runs_without_checkpoints(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run(
            "import sys\ntype(sys.stdout._transport).send_hello = lambda self, word: self.sock.sendall(b'[' * 4096)"
        )
        assert (await kernel.run("6 * 7")).value == "42"
        result = await kernel.run(EXIT)
    assert not result.state_survived and "no checkpoint to go back to: the kernel could not be forked" in result.stderr


async def test_a_kernel_that_hangs_at_its_fork_does_so_in_its_own_time(
    keeping: KernelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.state.fork.CHECKPOINT_TIMEOUT_S", 0.2)
    async with await keeping.acquire() as kernel:
        await kernel.run("import os, time\nos.fork = lambda: time.sleep(60)")
        result = await kernel.run("6 * 7", timeout_s=0.3)
        assert (result.status, result.state_survived) == ("timeout_killed", False)
        assert (await kernel.run("6 * 7")).value == "42"


async def test_a_kernel_that_hangs_up_and_lives_on_is_ended(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run(HUNG_UP, timeout_s=1.5)  # which bounds how long its end is awaited
        assert (result.status, result.state_survived) == ("protocol_violation", False)
        assert (await kernel.run("6 * 7")).value == "42"


async def test_stock_ipykernel_is_refused() -> None:
    with pytest.raises(ValueError, match="checkpoint: a kernel 'ipykernel' cannot be forked"):
        KernelPool(kernel="ipykernel", checkpoint=True)


async def _begun(kernel: Kernel) -> None:
    """Waits until the cell runs and can be interrupted."""
    while not kernel.busy:
        await asyncio.sleep(0)


BETWEEN = """import ctypes, os, signal, threading
now, x = threading.Event(), [1]
open('f', 'w').write('1')
def work():
    now.wait()
    {act}
signal.signal(signal.SIGUSR1, lambda *_: now.set())
threading.Thread(target=work, daemon=True).start()"""
"""A thread that waits for a signal of the host."""


def _signal(kernel: Kernel) -> None:
    assert kernel.process is not None
    kernel.process.signal(signal.SIGUSR1)


async def _gone(kernel: Kernel) -> None:
    """Waits until the process of the kernel has ended."""
    assert kernel.process is not None
    async with asyncio.timeout(20):
        while not kernel.process.ended():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("act", ["os._exit(1)", "ctypes.string_at(0)"], ids=["exit", "segfault"])
async def test_a_death_between_cells_costs_only_the_time_between(keeping: KernelPool, act: str) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run(BETWEEN.format(act=f"x.append(2); open('f', 'w').write('2'); {act}"))
        await kernel.put("put.txt", b"kept")
        _signal(kernel)
        await _gone(kernel)
        after = await kernel.run("x, open('f').read(), open('put.txt').read()")
        assert after.value == "([1], '1', 'kept')" and after.state_survived
        assert (
            "the kernel ended between cells; variables and files are as at the end of the cell before" in after.stderr
        )
        assert (await kernel.run("x")).stderr == ""
        assert (await kernel.run("x.append(3)\n" + EXIT)).rolled_back
        assert (await kernel.run("x")).value == "[1]"


async def test_what_threads_change_between_cells_is_in_the_next_checkpoint(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run(BETWEEN.format(act="x.append(2); open('f', 'w').write('2')"))
        _signal(kernel)
        async with asyncio.timeout(20):
            while await kernel.get("f") != b"2":
                await asyncio.sleep(0.01)
        assert (await kernel.run("x.clear(); os.remove('f')\n" + EXIT)).rolled_back
        assert (await kernel.run("x, open('f').read()")).value == "([1, 2], '2')"


async def test_a_death_between_cells_costs_a_branch_no_more(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run(BETWEEN.format(act="os._exit(1)"))
        _signal(kernel)
        await _gone(kernel)
        async with await kernel.fork() as branch:
            assert (await branch.run("x")).value == "[1]"


async def test_no_checkpoint_is_kept_where_nothing_runs_between_cells(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        await kernel.run("import subprocess\nopen('f', 'w').write('1'); subprocess.run(['true'])")
        assert kernel._checkpoints is not None and not kernel._checkpoints.kept
        await kernel.run("server = subprocess.Popen(['sleep', '1000'])")
        assert kernel._checkpoints.kept
        await kernel.run("server.kill(); server.wait()")
        assert not kernel._checkpoints.kept
