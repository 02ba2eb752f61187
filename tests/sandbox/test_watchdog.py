"""Limits that the watchdog enforces, in tiers where no mechanism does."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import KernelPool, Limits
from sandbox.host.process import Process
from sandbox.host.procfs import ProcessStat, read_all_stats
from sandbox.host.watchdog import start_watchdog

pytestmark = pytest.mark.asyncio(loop_scope="module")
NEST = "import os, time\nfor _ in range(1500):\n    os.mkdir('d'); os.chdir('d')\n"
BOMB = "import os, time\nfor _ in range(20):\n    if os.fork() == 0: time.sleep(30)\ntime.sleep(30)"
THREADS = "import threading, time\nfor _ in range(20):\n    threading.Thread(target=time.sleep, args=(15,)).start()\n"
NAMELESS = "import os, time\nfiles = []\nfor _ in range(2):\n    files.append(file := open('u', 'wb', 0))\n"
NAMELESS += "    os.unlink('u')\n    file.write(bytes(5 << 20))\ntime.sleep(15)"
FILL = "for name in 'ab':\n    open(name, 'wb').write(bytes(5 << 20))\ntime.sleep(15)"


async def test_a_fork_whose_sandbox_has_ended_does_not_stop_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0

    def count() -> dict[int, ProcessStat]:
        nonlocal passes
        passes += 1
        return read_all_stats()

    monkeypatch.setattr("sandbox.host.watchdog.INTERVAL_S", 0.01)
    monkeypatch.setattr("sandbox.host.watchdog.read_all_stats", count)
    limits = Limits(processes=8, cell_timeout_s=20)
    async with KernelPool(size=0, limits=limits, preload=(), tier="T1") as pool:
        kernel = await pool.acquire()
        await kernel.fork()
        assert (await kernel.run("import os; os._exit(1)")).status == "died"
        seen = passes
        while passes < seen + 3:
            await asyncio.sleep(0.01)
        result = await kernel.run(BOMB)
    assert result.status == "died" and "more than 8 processes" in result.stderr


async def test_a_pass_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.host.watchdog.INTERVAL_S", 0.01)
    second = asyncio.Event()

    class Taken(list[Process]):
        passes = 0

        def __iter__(self) -> Iterator[Process]:
            self.passes += 1
            if self.passes == 1:
                raise RuntimeError("of the host")
            second.set()
            return super().__iter__()

    watching = start_watchdog(Taken(), Limits(), "T2")
    assert watching is not None
    await asyncio.wait_for(second.wait(), 10)
    watching.cancel()


async def test_a_deep_tree_neither_hides_files_nor_stops_the_watchdog() -> None:
    limits = Limits(workspace_mib=8, cell_timeout_s=20)
    async with KernelPool(size=0, limits=limits, preload=(), tier="T1") as pool, await pool.acquire() as kernel:
        result = await kernel.run(NEST + FILL)
        assert pool.server is not None
        left = Path(pool.server.base)
    assert result.status == "died" and "a workspace larger than 8 MiB" in result.stderr
    assert not left.exists()


async def test_threads_count_as_processes() -> None:
    limits = Limits(processes=8, cell_timeout_s=20)
    async with KernelPool(size=0, limits=limits, preload=(), tier="T1") as pool, await pool.acquire() as kernel:
        assert (await kernel.run(THREADS.replace("20", "6"))).status == "ok"
        result = await kernel.run(f"{THREADS}time.sleep(15)")
    assert result.status == "died" and "more than 8 processes and threads" in result.stderr


async def test_open_files_without_a_name_count() -> None:
    limits = Limits(workspace_mib=8, cell_timeout_s=20)
    async with KernelPool(size=0, limits=limits, preload=(), tier="T1") as pool, await pool.acquire() as kernel:
        result = await kernel.run(NAMELESS)
    assert result.status == "died" and "a workspace larger than 8 MiB" in result.stderr
