"""A log restores a kernel on another machine, and reports what came out differently."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sandbox import KernelPool, Limits, probe
from sandbox.replay import restore
from sandbox.state.session_log import CellDone, SessionLog

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["T3", "T1"])
async def machines(request: pytest.FixtureRequest) -> AsyncIterator[tuple[KernelPool, KernelPool]]:
    """Two pools with separate fork servers, like those of two machines."""
    if request.param not in probe().properties:
        pytest.skip(f"tier {request.param} is not available here: {probe().missing}")
    limits = Limits(cell_timeout_s=10.0, interrupt_grace_s=0.3, workspace_mib=16)
    async with (
        KernelPool(size=1, limits=limits, preload=("numpy",), tier=request.param, checkpoint=True) as here,
        KernelPool(size=1, limits=limits, preload=("numpy",), tier=request.param) as there,
    ):
        yield here, there


CELLS = (
    "import random, numpy\nx = [random.random() for _ in range(3)]\nx",
    "numpy.random.rand(3)",
    "print({word for word in ('a', 'list', 'of', 'words')}); object()",
    "open('out.txt', 'w').write(open('in.txt').read() * 2 + open('put.txt').read())",
    "1 / 0",
    "import os; x.clear(); os.remove('in.txt'); os._exit(1)",
    "def f(): return len(x), open('out.txt').read()\nf()",
)


async def test_a_replay_is_equal_and_goes_on_from_there(machines: tuple[KernelPool, KernelPool]) -> None:
    here, there = machines
    async with await here.acquire(files={"in.txt": b"ab"}, seed=7, record=True) as kernel:
        await kernel.put("put.txt", b"\xffc"[1:])
        first = [await kernel.run(code) for code in CELLS]
        assert kernel.recorder is not None
        text = kernel.recorder.log.dumps()
        on = await kernel.run("random.random(), numpy.random.rand(), f()")
    assert first[5].rolled_back and first[6].value == "(3, 'ababc')"
    restored = await restore(there, SessionLog.loads(text))
    async with restored.kernel as again:
        assert restored.differences == ()
        assert (await again.run("random.random(), numpy.random.rand(), f()")).value == on.value
        assert again.recorder is not None
        twice = await restore(here, again.recorder.log)
    async with twice.kernel as third:
        assert twice.differences == () and (await third.run("f()")).value == "(3, 'ababc')"


async def test_cells_that_come_out_differently_are_flagged(machines: tuple[KernelPool, KernelPool]) -> None:
    here, there = machines
    cells = ("import time, os", "t = time.time()", "print(t)", "len(str(t)) > 3", "os.urandom(8)")
    async with await here.acquire(record=True) as kernel:
        for code in cells:
            await kernel.run(code)
        assert kernel.recorder is not None
        restored = await restore(there, kernel.recorder.log)
    await restored.kernel.close()
    assert [each.recorded.code for each in restored.differences] == [cells[2], cells[4]]
    assert all(each.result.status == "ok" for each in restored.differences)


async def test_tools_are_not_called_again_unless_that_is_wanted(machines: tuple[KernelPool, KernelPool]) -> None:
    here, there = machines
    called: list[str] = []

    async def order(item: str, count: int = 1) -> int:
        """Orders."""
        called.append(item)
        if item == "none":
            raise LookupError("sold out")
        return len(called)

    cells = ("a = order('tea'), order('cup', count=2)", "order('none')", "a, order('pot')")
    async with await here.acquire(tools={"order": order}, record=True) as kernel:
        first = [await kernel.run(code) for code in cells]
        assert kernel.recorder is not None
        log = SessionLog.loads(kernel.recorder.log.dumps())
    assert first[1].error_name == "LookupError" and first[2].value == "((1, 2), 4)"
    with pytest.raises(ValueError, match="tools: the log's kernel had order"):
        await restore(there, log)
    restored = await restore(there, log, tools={"order": order})
    async with restored.kernel as again:
        assert (restored.differences, called) == ((), ["tea", "cup", "none", "pot"])
        assert (await again.run("a, order('more')")).value == "((1, 2), 5)"
    repeated = await restore(there, log, tools={"order": order}, call_tools=True)
    await repeated.kernel.close()
    assert [each.recorded.code for each in repeated.differences] == [cells[2]]
    assert called[5:] == ["tea", "cup", "none", "pot"]


async def test_a_log_holds_any_output_of_a_cell(machines: tuple[KernelPool, KernelPool]) -> None:
    here, there = machines
    called: list[Any] = []

    def echo(value: Any) -> Any:
        called.append(value)
        return value

    cells = (
        "'\u2028', '\x85'",
        "1; '\ud800'",
        "deep = []\nfor _ in range(300): deep = [deep]\nstr(echo(deep))",
        "echo('\\ud800'), echo({'\\ud800': 1})",
        "echo(float('nan')), echo([float('inf')])",
    )
    async with await here.acquire(tools={"echo": echo}, record=True) as kernel:
        first = [await kernel.run(code) for code in cells]
        assert kernel.recorder is not None
        log = SessionLog.loads(kernel.recorder.log.dumps())
    assert [result.status for result in first] == ["ok", "error", "ok", "ok", "ok"] and len(called) == 5
    assert first[4].value == "(nan, [inf])"
    restored = await restore(there, log, tools={"echo": echo})
    await restored.kernel.close()
    assert ([each.result.status for each in restored.differences], len(called)) == (["error"], 5)


async def test_what_a_lost_state_made_void_is_left_out(machines: tuple[KernelPool, KernelPool]) -> None:
    here, there = machines
    async with await there.acquire(
        files={"n": b"1"}, seed=1, record=True
    ) as kernel:  # no checkpoints: the state is lost
        for code in (
            "x = 1; open('n', 'w').write('2')",
            "import os; os._exit(1)",
            "import random\ny = random.random()",
        ):
            await kernel.run(code)
        branch = await kernel.fork(reseed=True)
        await branch.run("z = random.random()")
        state = (await branch.run("'x' in globals(), y, z, open('n').read()")).value
        assert branch.recorder is not None and kernel.recorder is not None
        log, ended = branch.recorder.log, [each for each in kernel.recorder.log.records if isinstance(each, CellDone)]
        await branch.close()
    assert [each.end for each in ended] == ["kept", "lost", "kept"]
    restored = await restore(here, log)
    async with restored.kernel as again:
        assert restored.differences == ()
        assert (await again.run("'x' in globals(), y, z, open('n').read()")).value == state


async def test_a_log_is_checked(machines: tuple[KernelPool, KernelPool]) -> None:
    for text in ("", '{"kind": "restart"}\n', "no json"):
        with pytest.raises(ValueError):
            SessionLog.loads(text)
    with pytest.raises(ValueError, match=r"seed must be an integer in \[0, 2\*\*32\) \(got -1\)"):
        await machines[0].acquire(seed=-1)


@pytest.mark.parametrize("text", ["not json", '{"kind": "cell", "codes": "1"}', '{"kind": "none"}'])
async def test_what_is_no_log_is_said_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^log: line 1.*; give the whole text of a log$") as refused:
        SessionLog.loads(text)
    assert "http" not in str(refused.value)
