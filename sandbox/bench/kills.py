"""SIGKILL to a pool's owner and to the processes that guard it: counts what is left two seconds later.

Contract: a child process owns a pool whose kernels start processes that try to detach and have a recognizable name.
Counted is what Linux reports: processes, cgroups, folders, mounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from sandbox.bench.figures import Figure
from sandbox.bench.footprint import cgroup_homes
from sandbox.host.procfs import descendants
from sandbox.isolation.probe import Tier
from sandbox.pool import KernelPool

Victim = Literal[
    "owner",
    "guard",
    "supervisor",
    "fork server",
    "owner and guard",
    "guard and fork server",
    "supervisor and fork server",
]
VICTIMS: tuple[Victim, ...] = get_args(Victim)
WITHIN_S = 2.0
KERNELS = 5
DETACH = """
import os
if os.fork() == 0:
    try: os.setsid()
    except OSError: pass
    if os.fork() == 0: os.execvp('sleep', ['{mark}', '600'])
    os._exit(0)
"""


def kills(tier: Tier, on_figure: Callable[[Figure], None]) -> list[Figure]:
    """Figures of what is left after each kill."""
    figures = []
    for victim in VICTIMS:
        left = _kill(tier, victim)
        name = f"left {WITHIN_S:g} s after kill -9 of the {victim}, {tier}"
        figures.append(Figure(name=name, ours=len(left), at_most=0, note=", ".join(left[:5])))
        on_figure(figures[-1])
    return figures


def _kill(tier: Tier, victim: Victim) -> list[str]:
    mark = f"codeact-kill-{os.getpid()}"
    owner = subprocess.Popen(
        [sys.executable, "-m", "sandbox.bench.kills", tier, mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdin is not None and owner.stdout is not None
    try:
        ready = json.loads(owner.stdout.readline())
        below = set(descendants(owner.pid))
        supervisor = descendants(ready["guard"])[0]
        pids = {
            "owner": owner.pid,
            "guard": ready["guard"],
            "supervisor": supervisor,
            "fork server": descendants(supervisor)[0],
        }
        for name in victim.split(" and "):
            with contextlib.suppress(ProcessLookupError):  # it has ended with the one killed before
                os.kill(pids[name], signal.SIGKILL)
        deadline = time.monotonic() + WITHIN_S
        while (left := _left(owner.pid, below, mark, ready["base"], victim)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left
    finally:
        owner.stdin.close()  # an owner that is at_once ends now
        owner.wait()
        owner.stdout.close()


def _left(owner: int, below: set[int], mark: str, base: str, victim: Victim) -> list[str]:
    """What still exists. A live owner removes its cgroups when it closes or restarts the pool."""
    found = [f"process {pid}" for pid in below if _runs(pid)]
    found += [f"process {pid}" for pid in _named(mark) if pid not in below]
    found += [str(home) for home in cgroup_homes(owner) if victim.startswith("owner")]
    found += [base] if Path(base).exists() else []
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return found + [f"mount {line.split()[4]}" for line in mounts if base in line]


def _runs(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def _named(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(mark.encode() + b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


async def _own_pool(tier: Tier, mark: str) -> None:
    """The owner: starts kernels with detached processes, then waits until its standard input closes."""
    async with KernelPool(size=1, tier=tier, preload=()) as pool:
        for _ in range(KERNELS):
            kernel = await pool.acquire()
            await kernel.run(DETACH.format(mark=mark))
        assert pool.server is not None
        print(json.dumps({"guard": pool.server.pid, "base": pool.server.base}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_own_pool(sys.argv[1], sys.argv[2]))  # type: ignore[arg-type]
