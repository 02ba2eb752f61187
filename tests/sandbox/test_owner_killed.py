"""Nothing of a pool stays behind when its owner or one of its processes is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox import probe
from tests.helpers.sleepers import appears, sleepers

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWNER = """
import asyncio, os, sys
from sandbox import KernelPool
async def main():
    pool = KernelPool(size=2, preload=(), tier=sys.argv[1])
    await pool.start()
    kernel = await pool.acquire()
    await kernel.run(f"import subprocess; p = subprocess.Popen(['sleep', {sys.argv[2]!r}])")
    print(pool.server.base, flush=True)
    await kernel.run("while True: pass", timeout_s=60)
asyncio.run(main())
"""


@pytest.mark.parametrize("tier", ["T3", "T2", "T1", "T0"])
@pytest.mark.parametrize("victim", ["owner", "fork server"])
async def test_nothing_stays_behind_a_sigkill(tier: str, victim: str) -> None:
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here")
    mark = str(70000 + os.getpid() % 10000)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", OWNER, tier, mark]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        base = Path(owner.stdout.readline().strip())
        assert base.is_absolute() and await appears(mark)
        supervisor = _children(owner.pid)[0]
        pids = [owner.pid, supervisor, *_children(supervisor)]
        os.kill(owner.pid if victim == "owner" else pids[2], signal.SIGKILL)
        if victim == "owner":
            owner.wait()
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline and (sleepers(mark) or base.exists() or _alive(pids[1:])):
            await asyncio.sleep(0.02)
        assert not sleepers(mark) and not base.exists() and not _alive(pids[1:])
        assert not list(Path("/sys/fs/cgroup").glob(f"**/codeact-{owner.pid}-*")) or victim != "owner"
        owner.kill()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}/stat").exists() and " Z " not in _stat(pid)]


def _stat(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return " Z "
