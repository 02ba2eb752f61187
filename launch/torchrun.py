"""Starts the trainer under torchrun on this machine and passes signals on to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codeact_train.config import TrainConfig
from rollout.files import write_whole


class TrainingStopped(Exception):
    """The trainer ended early; ``code`` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the trainer ended with exit code {code}")
        self.code = code


def job_file(model: Path, corpus: Path, out: Path, train: TrainConfig) -> Path:
    """Writes what the trainer reads: everything resolved, nothing left to defaults."""
    job = {
        "model": str(model.resolve()),
        "corpus": str(corpus.resolve()),
        "out": str(out.resolve()),
        "train": train.model_dump(mode="json"),
    }
    path = out / "job.json"
    write_whole(path, json.dumps(job, indent=1) + "\n")
    return path


def command(job: Path, processes: int) -> list[str]:
    """The torchrun command line of a job on one machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*launcher, "-m", "codeact_train.trainer", "--config", str(job)]


def run(job: Path, processes: int, threads: int | None) -> None:
    """Trains to the end.

    Raises:
        TrainingStopped: the trainer did not reach the end; it saved its state if it could, and goes on when started again.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    child = subprocess.Popen(command(job, processes), env=environment)
    with _passed_on(child):
        code = child.wait()
    if code != 0:
        raise TrainingStopped(code)


@contextmanager
def _passed_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """SIGTERM goes to the child (a terminal's SIGINT reaches it anyway); we wait for it to save and end."""
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM)),
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
