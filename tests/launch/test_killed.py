"""A training job killed with SIGKILL leaves no process, wherever it is in its start."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from codeact_train.config.train import TrainConfig
from launch.config.launch import LaunchConfig
from launch.submit import torchrun

TRAINER = f"""#!{sys.executable}
import os, pathlib, runpy, signal, sys, time, types
folder, moment = pathlib.Path(sys.argv[4]).parent, os.environ["MOMENT"]
def show():
    (folder / f"{{os.getpid()}}.started").touch()
def importing():
    show()
    if moment == "one of them" and os.environ["RANK"] == "1":
        while len(list(folder.glob("*.started"))) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # as in a wait outside Python
    time.sleep(600)
sys.modules["codeact_train.train"] = types.SimpleNamespace(main=importing)
if moment == "first line":
    launcher = os.getppid()
    show()
    while os.getppid() == launcher:
        time.sleep(0.01)
sys.argv = ["codeact_train", *sys.argv[3:]]
runpy.run_module("codeact_train", run_name="__main__")
"""
"""Takes the place of Python: the trainer, whose import of torch never ends."""

LAUNCHER = """
import sys
from pathlib import Path
from codeact_train.config.train import TrainConfig
from launch.config.launch import LaunchConfig
from launch.submit import torchrun
sys.executable = sys.argv[1]
torchrun.run(Path(sys.argv[2]), LaunchConfig(processes=2), TrainConfig())
"""


@pytest.fixture
def trainer(tmp_path: Path) -> Path:
    path = tmp_path / "trainer"
    path.write_text(TRAINER)
    path.chmod(stat.S_IRWXU)
    return path


def started(folder: Path) -> list[psutil.Process]:
    """The training processes, by the files they made."""
    pids = {int(path.stem) for path in folder.glob("*.started")}
    return [process for process in psutil.process_iter() if process.pid in pids]


OURS = [sys.executable, "-c", LAUNCHER]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2"]


@pytest.mark.parametrize(
    ("starts", "moment"),
    [(OURS, "first line"), (OURS, "imports"), (TORCHRUN, "imports")],
    ids=["first line", "imports", "torchrun"],
)
def test_the_launcher_is_killed(tmp_path: Path, trainer: Path, starts: list[str], moment: str) -> None:
    arguments = [] if starts is OURS else ["-m", "codeact_train", "--config"]
    launcher = subprocess.Popen(
        [*starts, str(trainer), *arguments, str(tmp_path / "job.json")], env={**os.environ, "MOMENT": moment}
    )
    try:
        while len(started(tmp_path)) < 2:
            assert launcher.poll() is None
            time.sleep(0.01)
        processes = started(tmp_path)
    finally:
        launcher.send_signal(signal.SIGKILL)
        launcher.wait()
    _, alive = psutil.wait_procs(processes, timeout=5)
    for process in alive:
        process.kill()
    assert not alive


def test_one_training_process_is_killed(tmp_path: Path, trainer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOMENT", "one of them")
    monkeypatch.setattr(torchrun.sys, "executable", str(trainer))
    with pytest.raises(torchrun.TrainingStopped) as stopped:
        torchrun.run(tmp_path / "job.json", LaunchConfig(processes=2), TrainConfig())
    assert stopped.value.code == -signal.SIGKILL
    assert started(tmp_path) == []
