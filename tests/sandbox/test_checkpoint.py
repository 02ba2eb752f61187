"""A checkpoint before each cell: what a fatal cell costs, and what it does not."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox import KernelPool, Limits, probe

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIMITS = Limits(memory_mib=256, workspace_mib=16, workspace_inodes=200, cell_timeout_s=10.0, output_chars=1000,
                printed_mib=4, interrupt_grace_s=0.3)  # fmt: skip
DEAF = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\nwhile True: pass"
SEGFAULT = "import ctypes\nctypes.string_at(0)"
MEMORY = {  # what ends a process for its memory: the cgroup, or RLIMIT_DATA in a place where Python cannot raise
    "T3": "import mmap\nheld = [mmap.mmap(-1, 64 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) for _ in range(9)]"
    "\nfor m in held:\n    for at in range(0, len(m), 4096): m[at] = 1",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["T3", "T2", "T1"])
async def keeping(request: pytest.FixtureRequest) -> AsyncIterator[KernelPool]:
    if request.param not in probe().properties:
        pytest.skip(f"tier {request.param} is not available here: {probe().missing}")
    async with KernelPool(size=1, limits=LIMITS, preload=(), tier=request.param, checkpoint=True) as running:
        yield running


@pytest.mark.parametrize(
    ("code", "status"),
    [("import os; os._exit(3)", "died"), (SEGFAULT, "died"), (DEAF, "timeout_killed")],
    ids=["exit", "segfault", "deaf loop"],
)
async def test_a_fatal_cell_costs_only_itself(keeping: KernelPool, code: str, status: str) -> None:
    async with await keeping.acquire(tools={"double": lambda x: 2 * x}) as kernel:
        await kernel.run("x = [1, 2]\ndef f(): return sum(x)\nimport math")
        await kernel.run("x.append(3)")
        for _ in range(2):
            result = await kernel.run(f"x.clear()\n{code}", timeout_s=0.3 if code == DEAF else None)
            assert (result.status, result.state_survived, result.rolled_back) == (status, True, True)
        after = await kernel.run("print('on'); x, f(), math.pi > 3, double(4)")
    assert (after.value, after.stdout, after.rolled_back) == ("([1, 2, 3], 6, True, 8)", "on\n", False)
