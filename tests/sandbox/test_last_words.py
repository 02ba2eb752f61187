"""What a cell printed before its process died is in its result, or the result says what is missing."""

import pytest

from sandbox import KernelPool, Limits, probe
from sandbox.result import CellResult

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRINTS = "import os, sys\nprint('first')\nprint('error', file=sys.stderr)\n"
RAW = "os.write(1, b'raw\\n'); os.system('echo child >&2')\n"
DEATHS = {
    "os._exit": ("os._exit(3)", "died"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "died"),
    "abort": ("os.abort()", "died"),
    "time limit": ("import signal; signal.signal(2, signal.SIG_IGN)\nwhile True: pass", "timeout_killed"),
}


def printed(result: CellResult) -> tuple[str, str, int | None, str]:
    return result.stdout, result.stderr, result.missing_chars, result.missing


@pytest.mark.parametrize("death", DEATHS)
async def test_text_before_a_death_is_in_the_result(isolated: KernelPool, death: str) -> None:
    if isolated.tier in ("T1", "T2") and death in ("segmentation fault", "abort"):
        pytest.skip("one death by signal in each tier is enough")
    code, status = DEATHS[death]
    async with await isolated.acquire() as kernel:
        heard: list[tuple[str, str]] = []
        result = await kernel.run(
            PRINTS + RAW + code,
            timeout_s=0.5 if death == "time limit" else 10,
            on_event=lambda kind, content: heard.append((content["name"], content["text"])),
        )
        assert result.status == status
        assert printed(result) == ("first\nraw\n", "error\nchild\n", 0, "")
        assert "".join(text for name, text in heard if name == "stdout") == "first\nraw\n"
        after = await kernel.run("print('again')")
        assert (after.status, after.stdout) == ("ok", "again\n")


async def test_a_rolled_back_cell_keeps_its_text(keeping: KernelPool) -> None:
    async with await keeping.acquire() as kernel:
        for _ in range(2):
            result = await kernel.run(PRINTS + RAW + "os.kill(os.getpid(), 9)")
            assert result.rolled_back
            assert printed(result) == ("first\nraw\n", "error\nchild\n", 0, "")
        assert (await kernel.run("print('again')")).stdout == "again\n"


async def test_text_before_running_out_of_memory_is_in_the_result() -> None:
    if probe().tier != "T3":
        pytest.skip("only a cgroup ends a kernel that is out of memory")
    limits = Limits(memory_mib=64, workspace_mib=1, cell_timeout_s=30)
    async with KernelPool(size=0, limits=limits, preload=(), tier="T3") as pool, await pool.acquire() as kernel:
        result = await kernel.run(
            f"{PRINTS}import mmap\nm = mmap.mmap(-1, 256 << 20)\nfor at in range(0, len(m), 4096): m[at] = 1"
        )
        assert result.status == "out_of_memory" and printed(result) == ("first\n", "error\n", 0, "")


async def test_a_value_and_a_display_before_a_death_are_in_the_result(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        result = await kernel.run("display('shown'); import os; os._exit(1)")
        assert result.outputs == ({"text/plain": "'shown'"},)
        await kernel.run("get_ipython().ast_node_interactivity = 'all'")
        result = await kernel.run("1\n2\nimport os; os._exit(1)")
        assert (result.status, result.value, result.outputs) == ("died", "2", ({"text/plain": "1"},))


async def test_much_text_before_a_death_is_cut_as_otherwise(pool: KernelPool) -> None:
    text = "for number in range(3000): print(number)\nprint('é\\ud800')\n"
    async with await pool.acquire() as kernel:
        whole = await kernel.run(text)
        cut = await kernel.run(text + "import os; os._exit(1)")
        written = "import os\nos.write(1, ''.join(f'{n}\\n' for n in range(3000)).encode())\n"
        raw = await kernel.run(written + "os.write(1, 'é\\n'.encode()); os._exit(1)")
    assert whole.status == "ok" and cut.status == raw.status == "died"
    assert cut.stdout == whole.stdout and "characters omitted" in cut.stdout
    assert raw.stdout.startswith("0\n1\n") and raw.stdout.endswith("2999\né\n")


async def test_a_death_between_two_texts_takes_neither_twice(pool: KernelPool) -> None:
    code = "import os, sys\nprint('one', flush=True)\nprint('two')\nsys.stdout.flush()\n"
    code += "print('three', end='')\nos._exit(1)"
    async with await pool.acquire() as kernel:
        for _ in range(3):
            assert (await kernel.run(code)).stdout == "one\ntwo\nthree"
        silent = await kernel.run("import os; os._exit(1)")
        assert printed(silent) == ("", "", 0, "")


async def test_a_kernel_that_spoils_its_memory_is_no_error_of_the_hosts(pool: KernelPool) -> None:
    code = "import os, sys\nprint('text', flush=True)\nmemory = sys.stdout._cell_text._memory\n"
    code += "memory[:] = bytes([255]) * len(memory)\nos._exit(1)"
    async with await pool.acquire() as kernel:
        result = await kernel.run(code)
        assert result.status == "died" and result.stdout.startswith("text\n")
        assert result.missing_chars is None and "disagree" in result.missing


async def test_a_dead_branch_keeps_its_prints(pool: KernelPool) -> None:
    async with await pool.acquire() as kernel:
        branch = await kernel.fork()
        result = await branch.run(PRINTS + "os._exit(1)")
        assert (result.stdout, result.stderr, result.missing_chars) == ("first\n", "error\n", None)
        assert "may be missing" in result.missing
        assert (await kernel.run("print('here')")).stdout == "here\n"
        await branch.close()


async def test_stock_ipykernel_says_that_text_may_be_missing() -> None:
    async with KernelPool(size=0, preload=(), kernel="ipykernel") as pool, await pool.acquire() as kernel:
        result = await kernel.run("import os; os._exit(1)")
        assert result.missing_chars is None and result.missing.startswith("stock ipykernel")
