"""What a checkpoint may cost: space for the files it keeps, and time."""

import asyncio
import os
import time
from math import inf
from pathlib import Path

import pytest

from sandbox import KernelPool
from sandbox.workspace.snapshot import WorkspaceSnapshot
from sandbox.workspace.walk import check_deadline
from tests.helpers.checkpoints import EXIT, LIMITS, SLEEPS_ON

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROWS = """import ctypes, os, struct
names = [f'{number:02}' for number in range(12)]
for name in names: open(name, 'wb').write(b'x' * 1_000_000)
if os.fork() == 0:
    libc = ctypes.CDLL(None)
    events = libc.inotify_init()
    opened = {libc.inotify_add_watch(events, name.encode(), 0x20): os.open(name, os.O_RDWR) for name in names}
    while True:  # a reader finds the file sixteen times as long
        seen = os.read(events, 4096)
        for at in range(0, len(seen), 16):
            os.ftruncate(opened[struct.unpack_from('i', seen, at)[0]], 16 << 20)"""
SHORT_AGAIN = "for name in names: os.truncate(name, 1_000_000); os.utime(name)"


async def test_files_that_grow_while_they_are_kept_take_no_more_than_the_workspace_may() -> None:
    async with KernelPool(size=0, limits=LIMITS, preload=(), checkpoint=True) as pool, await pool.acquire() as kernel:
        assert (await kernel.run(GROWS)).status == "ok"
        assert pool.server is not None
        for _ in range(4):
            await kernel.run(SHORT_AGAIN)
            kept = [path.stat() for path in Path(pool.server.base).glob("snapshot-*/*")]
            assert sum(seen.st_size for seen in kept) <= LIMITS.workspace_mib << 20


async def test_a_folder_in_the_place_of_a_file_that_is_being_kept_stays_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "workspace" / "swapped").mkdir()
    seen = ("swapped", (tmp_path / "file").stat())
    monkeypatch.setattr("sandbox.workspace.snapshot.walk_beneath", lambda *_: [seen])
    workspace = os.open(tmp_path / "workspace", os.O_PATH)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(OSError, match="'swapped' is not a file any longer"):
            WorkspaceSnapshot(tmp_path / "snapshot", 1, 10).update(workspace, inf)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.close(workspace)


async def test_files_that_take_too_long_to_keep_leave_the_cell_half_of_its_time(
    keeping: KernelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(until: float) -> None:
        time.sleep(min(3.0, max(0.0, until - time.monotonic())))
        check_deadline(until)

    async with await keeping.acquire(files={"a": b"1"}) as kernel:
        await kernel.run("x = 1")
        with monkeypatch.context() as patched:
            patched.setattr("sandbox.workspace.walk.check_deadline", slowly)
            assert (await kernel.run("x", timeout_s=4)).value == "1"
            result = await kernel.run(EXIT, timeout_s=4)
        assert not result.state_survived
        assert "no checkpoint to go back to: there are too many files" in result.stderr
        assert (await kernel.run("open('a').read()")).value == "'1'"


async def test_files_that_take_too_long_to_put_back_cost_the_state(
    keeping: KernelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.state.checkpoint.RESTORE_TIMEOUT_S", 0.0)
    async with await keeping.acquire(files={"a": b"1"}) as kernel:
        result = await kernel.run("import os; os.remove('a')\n" + EXIT)
        assert not result.state_survived and "there are too many files" in result.stderr
        assert (await kernel.run("open('a').read()")).value == "'1'"


async def test_a_copy_that_does_not_wake_is_not_waited_for_long(
    keeping: KernelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.kernel.RESUME_TIMEOUT_S", 0.2)
    async with await keeping.acquire() as kernel:
        assert (await kernel.run(SLEEPS_ON)).status == "ok"
        result = await asyncio.wait_for(kernel.run(EXIT), 5)
        assert (result.state_survived, result.rolled_back) == (False, False)
        assert "no checkpoint to go back to: the kernel failed at its resume_request: no answer" in result.stderr
