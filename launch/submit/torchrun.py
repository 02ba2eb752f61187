"""Runs the trainer under torchrun's agent on this machine and reports how it ended.

Stop signals are forwarded to the training processes, which save and end by themselves; the agent would kill them after
30 seconds, too early to save a large model. SIGQUIT still ends them at once. The agent is called through its Python
API, because the command ``torchrun`` does not return the exit codes that distinguish "stopped and saved" from "cannot
run as configured". Training processes end when this process is killed, and when one of them is.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from codeact_train import TrainConfig
from codeact_train.system.exit_codes import STOP_SIGNALS, STOPPED
from codeact_train.system.folders import read_object
from codeact_train.system.parent import LAUNCHER
from launch.config.launch import LaunchConfig
from launch.submit.end_together import end_together
from rollout import write_atomically


class TrainingStopped(Exception):
    """The trainer ended early; ``code`` is its exit code, ``advice`` what the same command does next."""

    def __init__(self, code: int, advice: str) -> None:
        super().__init__(f"the trainer ended with exit code {code}; {advice}")
        self.code, self.advice = code, advice


def job_file(folder: Path, model: Path, corpus: Path, out: Path, train: TrainConfig) -> Path:
    """Writes the trainer's input into ``folder``, with every default resolved. The trainer copies it into ``out`` once
    it has accepted the job."""
    job = {
        "model": str(model.resolve()),
        "corpus": str(corpus.resolve()),
        "out": str(out.resolve()),
        "train": train.model_dump(mode="json"),
    }
    path = folder / "job.json"
    write_atomically(path, json.dumps(job, indent=1) + "\n")
    return path


def run(job: Path, launch: LaunchConfig, train: TrainConfig, *arguments: str) -> None:
    """Runs the trainer to its end, with further `arguments` for it.

    Raises:
        ValueError: several machines without a rendezvous.
        TrainingStopped: the trainer ended early; started again it resumes from its last checkpoint.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig as AgentConfig
    from torch.distributed.launcher.api import elastic_launch

    if launch.nodes > 1 and launch.rendezvous is None:
        raise ValueError(
            f"launch.nodes={launch.nodes} needs a rendezvous; give launch.rendezvous=HOST:PORT of the first machine"
        )
    agent = AgentConfig(
        min_nodes=launch.nodes,
        max_nodes=launch.nodes,
        nproc_per_node=launch.count(train),
        run_id=launch.rendezvous or uuid.uuid4().hex,  # the same on every machine of the job
        rdzv_backend="c10d",
        rdzv_endpoint=launch.rendezvous or "localhost:0",
        max_restarts=0,
        signals_to_handle="SIGQUIT",
    )

    def advice() -> str:
        return "nothing was exported" if arguments else _advice(_train_folder(job))

    # The agent logs a trainer that ended early as a crash; the exit code has the reason.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        with _signals(advice), _launcher(), end_together(launch.count(train)):
            elastic_launch(agent, sys.executable)("-m", "codeact_train", "--config", str(job), *arguments)
    except ChildFailedError as failed:
        _, first = failed.get_first_failure()
        too_early = first.exitcode == -signal.SIGTERM  # before its signal handlers, so there was nothing to save
        raise TrainingStopped(STOPPED if too_early else first.exitcode, advice()) from None
    except SignalException as received:
        raise TrainingStopped(-received.sigval, advice()) from None


def _train_folder(job: Path) -> Path:
    """The folder that a job writes."""
    return Path(read_object(job).get("out", job.parent))


def _advice(run: Path) -> str:
    """What the same command does after the trainer of the folder ``run`` has ended early."""
    folders = (meta.parent for meta in (run / "checkpoints").glob("step-*/meta.json"))
    complete = [folder.name for folder in folders if folder.suffix != ".building"]
    if not complete:
        return "no checkpoint was saved, the same command starts from the beginning"
    newest = max(complete, key=lambda name: int(name.removeprefix("step-")))
    return f"the same command resumes from the last checkpoint, {newest}"


@contextmanager
def _launcher() -> Iterator[None]:
    """Names this process in the environment of the training processes, which end with it."""
    os.environ[LAUNCHER] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[LAUNCHER]


@contextmanager
def _signals(advice: Callable[[], str]) -> Iterator[None]:
    """Forwards stop signals to the training processes within; afterwards restores the handlers, which the agent does
    not do."""
    others = psutil.Process().children()

    def forward(number: int, frame: FrameType | None) -> None:
        """Sends SIGTERM to the training processes. A second one, from a scheduler, does no harm."""
        processes = [child for child in psutil.Process().children() if child not in others]
        for child in processes:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        if not processes:  # still waiting for the other machines
            raise TrainingStopped(STOPPED, advice())

    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGQUIT)}
    for number in STOP_SIGNALS:
        signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
