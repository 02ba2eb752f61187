"""Cgroups are found where a container sees them, and kernels join them in any scheduling class of their owner."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import KernelPool, Limits, SandboxError, probe
from sandbox.isolation import cgroups

ROOT = Path(__file__).parents[2]
AS_CONTAINER = """
set -e
mount --make-rprivate /
for name in memory pids; do  # what a container sees of version 1: its own part of each hierarchy
    part=$(sed -n "s/^[0-9]*:$name:\\/*//p" /proc/self/cgroup)
    mount --bind "/sys/fs/cgroup/$name/$part" "/sys/fs/cgroup/$name"
done
exec "$@"
"""
FIND = """
from sandbox.isolation import cgroups
home = cgroups.find()
print(home)
home.remove()
"""
REAL_TIME = """
import asyncio, os
try:
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
except PermissionError:
    raise SystemExit(77)
from sandbox import KernelPool, probe

async def main():
    async with KernelPool(size=0, preload=()) as pool, await pool.acquire() as kernel:
        back = await kernel.run("import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))")
        print(os.sched_getscheduler(kernel.process.pid()) == os.SCHED_OTHER, back.error_name)

print(probe().model_dump_json())
asyncio.run(main())
"""
BUFFER = """
import socket
server, ends, sent, last = socket.create_server(('127.0.0.1', 0)), [], 0, -1
for _ in range(40):
    ends += [socket.create_connection(server.getsockname()), server.accept()[0]]
for end in ends:
    end.setblocking(False)
while sent > last:
    last = sent
    for end in ends:
        try: sent += end.send(bytes(1 << 20))
        except BlockingIOError: pass
sent >> 20
"""


def test_a_container_with_version_1_cgroups_finds_its_place_in_them() -> None:
    """It gets the whole path of its cgroup, and sees the part of the hierarchy that begins there."""
    hierarchies = [Path("/sys/fs/cgroup", name) for name in cgroups.CONTROLLERS]
    if os.geteuid() != 0 or not all((folder / "tasks").exists() for folder in hierarchies):
        pytest.skip("needs root and version 1 cgroups")
    paths = cgroups.own_paths()
    folders = [folder / paths[folder.name].lstrip("/") / f"test-{os.getpid()}" for folder in hierarchies]
    try:
        for folder in folders:
            folder.mkdir()
        enter = [
            "bash",
            "-c",
            'for each in $0; do echo $$ > "$each/tasks"; done; exec "$@"',
            " ".join(map(str, folders)),
        ]
        command = [*enter, "unshare", "-m", "bash", "-c", AS_CONTAINER, "container", sys.executable, "-c", FIND]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    finally:
        for folder in folders:
            cgroups.remove_folder(folder)
    assert "CgroupHome" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0, ran.stderr


def test_kernels_of_an_owner_in_a_real_time_class_are_not_in_it_and_lose_no_property() -> None:
    """Linux lets no real-time process into a processor cgroup, and one that loops would have a processor for itself."""
    ran = subprocess.run([sys.executable, "-c", REAL_TIME], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if ran.returncode == 77:
        pytest.skip("a real-time class needs the right to it")
    report, kernel = ran.stdout.splitlines()
    assert report == probe().model_dump_json()
    assert kernel == "True PermissionError"


async def test_a_fork_that_linux_refuses_affects_no_other_kernel() -> None:
    if "T3" not in probe().properties:
        pytest.skip("tier T3 is not available here")
    home = cgroups.find()
    assert isinstance(home, cgroups.CgroupHome)
    try:
        async with KernelPool(size=0, preload=(), tier="T3") as pool, await pool.acquire() as kernel:
            assert kernel.process is not None and (await kernel.run("x = 41")).status == "ok"
            stat = Path(f"/proc/{kernel.process.pid()}/stat").read_text()
            fork_server = int(stat.rpartition(")")[2].split()[1])
            home.make("narrow", memory_mib=1024, processes=1).add(fork_server)
            with pytest.raises(SandboxError, match=r"no kernel could be forked.*unavailable"):
                await pool.acquire()
            assert (await kernel.run("x + 1")).value == "42"
            home.make("wide", memory_mib=1024, processes=100).add(fork_server)
            async with await pool.acquire() as another:
                assert (await another.run("6 * 7")).value == "42"
            assert pool.lost == 0
    finally:
        home.remove()


async def test_what_connections_buffer_is_counted() -> None:
    if "T3" not in probe().properties:
        pytest.skip("tier T3 is not available here")
    limits = Limits(memory_mib=64, workspace_mib=8)
    async with KernelPool(size=0, limits=limits, preload=(), tier="T3") as pool, await pool.acquire() as kernel:
        result = await kernel.run(BUFFER)
        assert result.status == "out_of_memory" or int(result.value or 999) <= 64 + 8, result


def test_a_pool_is_removed_by_two_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard's supervisor and the owner both remove it; a pool that starts removes those of killed owners."""
    home = tmp_path / "codeact-1-x"
    home.mkdir()
    scan = os.scandir

    def removed_by_another(path: Path) -> object:
        home.rmdir()
        return scan(path)

    monkeypatch.setattr(os, "scandir", removed_by_another)
    cgroups.CgroupHome((home,)).remove()
    monkeypatch.undo()
    assert not home.exists()
