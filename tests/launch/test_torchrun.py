"""The trainer under torchrun's agent, as the loop starts it."""

import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from codeact_train.config.train import TrainConfig
from codeact_train.system.exit_codes import STOP_SIGNALS
from launch.config.launch import LaunchConfig
from launch.submit import torchrun
from launch.submit.torchrun import TrainingStopped, run

TRAINER = f"""#!{sys.executable}
import pathlib, signal, sys
received = []
signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
pathlib.Path(sys.argv[4]).with_suffix(".listens").touch()
while not received:
    signal.pause()
sys.exit(4)
"""
"""Takes the place of Python: it listens, and finds as it saves that the state is unsound."""


def test_an_interrupt_means_the_same_after_training_as_before(tmp_path: Path) -> None:
    """Else Ctrl-C in the evaluation would end in a traceback of the agent's."""
    job = tmp_path / "job.json"
    job.write_text("{}")
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in watched]
    with pytest.raises(TrainingStopped, match="2") as stopped:
        run(job, LaunchConfig(), TrainConfig())
    assert stopped.value.code == 2
    assert stopped.value.advice.startswith("no checkpoint was saved")
    assert [signal.getsignal(number) for number in watched] == before


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_trainer_that_is_asked_to_end_says_itself_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    trainer, job = tmp_path / "trainer", tmp_path / "job.json"
    trainer.write_text(TRAINER)
    trainer.chmod(stat.S_IRWXU)

    def ask() -> None:
        while not job.with_suffix(".listens").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    for name in ("step-000004", "step-000012", "step-000020.building"):  # the last one was being removed
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "meta.json").write_text("{}")
    monkeypatch.setattr(torchrun.sys, "executable", str(trainer))
    threading.Thread(target=ask, daemon=True).start()
    with pytest.raises(TrainingStopped) as stopped:
        run(job, LaunchConfig(), TrainConfig())
    assert stopped.value.code == 4
    assert stopped.value.advice.endswith("resumes from the last checkpoint, step-000012")
