"""Nothing of a collection stays behind when its driver is killed: processes, folders, cgroups."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.helpers.cgroups import cgroups_of
from tests.helpers.sleepers import sleepers

DRIVER = """
import asyncio, os, sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from rollout import EpisodeJob, EpisodeProtocol, Sampling, Task, WorkerConfig, ray_session
from rollout.engines import Completion
from rollout.workers import run_jobs

@dataclass
class Waits:
    "Starts a process in the kernel, says which worker it is in, and then never answers."
    where: str
    mark: str
    name: str = "waits"
    shared: ClassVar[bool] = False

    def build(self, task): return self

    async def complete(self, messages, sampling, *, session):
        if len(messages) > 2:
            Path(self.where, f"{task_of(session)}-{os.getpid()}").touch()
            await asyncio.Event().wait()
        code = f"import subprocess; p = subprocess.Popen(['sleep', '{self.mark}'], start_new_session=True)"
        return Completion(f"<execute>{code}</execute>", None, None, 0, 0, "stop")

    async def close(self): ...

def task_of(session): return abs(hash(session)) % 1000

where, mark = sys.argv[1:]
jobs = [EpisodeJob(Task("f", "k", "train", "trained", f"t-{n}", "?", "1", "text"), Waits(where, mark), Sampling())
        for n in range(2)]
config = WorkerConfig(workers=2, warm_kernels=1, kernel_memory_mib=256, episodes_per_worker=1)
with ray_session():
    list(run_jobs(jobs, config, EpisodeProtocol()))
"""


def test_a_killed_driver_leaves_no_process_no_folder_and_no_cgroup(tmp_path: Path) -> None:
    temporary = tempfile.mkdtemp(prefix="t", dir="/tmp")  # paths of sockets must be short
    mark = str(80000 + os.getpid() % 10000)
    environment = {**os.environ, "TMPDIR": temporary, "PYTHONPATH": str(Path(__file__).parents[2])}
    environment["RAY_raylet_start_wait_time_s"] = "120"
    command = [sys.executable, "-c", DRIVER, str(tmp_path), mark]
    try:
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as driver:
            until(lambda: len(list(tmp_path.iterdir())) == 2 or driver.poll() is not None, 240)
            assert driver.poll() is None, driver.stderr.read().decode()[-2000:] if driver.stderr else ""
            assert len(list(tmp_path.iterdir())) == 2, "the workers did not begin in time"
            workers = [int(file.name.split("-")[1]) for file in tmp_path.iterdir()]
            assert len(sleepers(mark)) == 2 and len(folders(temporary)) == 2 and len(set(workers)) == 2
            driver.send_signal(signal.SIGKILL)
            driver.wait()

            def left() -> list[object]:
                cgroups = [found for worker in workers for found in cgroups_of(worker)]
                return [*sleepers(mark), *folders(temporary), *cgroups, *running(temporary), *filter(exists, workers)]

            until(lambda: not left(), 60)
            assert left() == []
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def until(true: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)


def folders(temporary: str) -> list[Path]:
    return list(Path(temporary).glob("codeact-*"))


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def running(temporary: str) -> list[str]:
    """Processes of the Ray session, and of the sandboxes, that name the folder for temporary files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if temporary.encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found
