"""Nothing of a pool stays behind when its owner or one of its processes is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import probe
from sandbox.isolation.owned_folders import remove_abandoned
from tests.helpers.cgroups import cgroups_of
from tests.helpers.sleepers import appears, sleepers

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


CASES = [(tier, victim) for tier in ("T3", "T2", "T1", "T0") for victim in ("owner", "fork server")]
CASES += [(tier, victim) for tier in ("T3", "T1") for victim in ("owner and guard", "supervisor and fork server")]


@pytest.mark.asyncio
@pytest.mark.parametrize(("tier", "victim"), CASES)
async def test_nothing_stays_behind_a_sigkill(tier: str, victim: str) -> None:
    """The owner and its children are what Ray kills when a worker has to end."""
    if tier not in probe().properties:
        pytest.skip(f"tier {tier} is not available here")
    mark = str(70000 + os.getpid() % 10000)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", OWNER, tier, mark]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        base = Path(owner.stdout.readline().strip())
        assert base.is_absolute() and await appears(mark)
        pids = {"owner": owner.pid, "guard": _children(owner.pid)[0]}
        pids["supervisor"] = _children(pids["guard"])[0]
        pids["fork server"] = _children(pids["supervisor"])[0]
        for name in victim.split(" and "):
            os.kill(pids[name], signal.SIGKILL)
        began, dead = time.monotonic(), "owner" in victim
        if dead:
            owner.wait()
        left = [pid for name, pid in pids.items() if name != "owner"]
        while sleepers(mark) or base.exists() or _alive(left) or (dead and cgroups_of(owner.pid)):
            assert time.monotonic() < began + 30, (sleepers(mark), base.exists(), _alive(left), cgroups_of(owner.pid))
            await asyncio.sleep(0.02)
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


MANAGER = """
import sys
from pathlib import Path
from jupyter_client.manager import KernelManager
from sandbox.jupyter.provisioner import install_kernelspec
install_kernelspec(Path(sys.argv[1]), "sandboxed", preload=[])
manager = KernelManager(kernel_name="sandboxed")
manager.start_kernel()
manager.client().start_channels()
print(manager.ip, flush=True)
sys.stdin.read()
"""


def test_no_sockets_stay_behind_a_killed_jupyter_server(tmp_path: Path, short_tmp: Path) -> None:
    environment = _environment(short_tmp) | {"JUPYTER_PATH": str(tmp_path)}
    command = [sys.executable, "-c", MANAGER, str(tmp_path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as owner:
        assert owner.stdout is not None
        assert Path(owner.stdout.readline().strip()).is_relative_to(short_tmp)
        assert {folder.name.split("-")[1] for folder in short_tmp.glob("codeact-*")} == {"zmq", "sandbox"}
        owner.kill()
        owner.wait()
        deadline = time.monotonic() + 30
        while list(short_tmp.glob("codeact-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
    assert list(short_tmp.glob("codeact-*")) == []


HOLDER = """
import sys
from sandbox.isolation.owned_folders import process_folder, temporary_folder
with temporary_folder("suite") as one:
    print(one, process_folder("zmq"), flush=True)
    sys.stdin.read()
"""


def test_folders_of_dead_owners_are_removed_and_no_others(short_tmp: Path) -> None:
    environment = _environment(short_tmp)
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as live:
        with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as dead:
            assert live.stdout is not None and dead.stdout is not None
            kept, left = (set(process.stdout.readline().split()) for process in (live, dead) if process.stdout)
            dead.kill()
        (one, *_), foreign = left, short_tmp / "foreign"
        foreign.mkdir()
        name = Path(one).name
        pid = name.split("-")[2]
        others = {
            "another place": name.replace(name.split("-")[4], "0" * 8),
            "no tag": f"codeact-zmq-{pid}",
            "another project": name.replace("codeact", "other"),
        }
        for other in others.values():
            (short_tmp / other).mkdir()
        link = short_tmp / f"{name[:-8]}{'1' * 8}"
        link.symlink_to(foreign)
        kept |= {str(short_tmp / other) for other in others.values()} | {str(link), str(foreign)}
        remove_abandoned(short_tmp)
        assert {str(path) for path in short_tmp.iterdir()} == kept
        assert live.stdin is not None
        live.stdin.close()
        live.wait()
        assert len(list(short_tmp.iterdir())) == len(kept) - 2


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A folder for temporary files whose path leaves room for sockets."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        yield Path(folder)


def _environment(temporary: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(temporary)}
