"""Starts the trainer under torchrun's agent on this machine and says how it ended.

Signals that ask to end are passed on to the training processes, which save and end in their own time; the agent would
kill them after half a minute, and a large model is not saved by then. SIGQUIT still ends them at once. The agent is
used through its Python door, because the command ``torchrun`` does not pass on the exit codes by which the trainer
tells "stopped and saved" from "cannot run as configured".
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from codeact_train import TrainConfig
from codeact_train.exit_codes import STOP_SIGNALS, STOPPED
from launch.config.launch import LaunchConfig
from rollout import write_atomically


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
    write_atomically(path, json.dumps(job, indent=1) + "\n")
    return path


def run(job: Path, place: LaunchConfig, train: TrainConfig, *arguments: str) -> None:
    """Trains to the end, or does what further `arguments` of the trainer say.

    Raises:
        ValueError: several machines without a place to meet.
        TrainingStopped: the trainer did not reach the end; started again it goes on from its last checkpoint.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig as AgentConfig
    from torch.distributed.launcher.api import elastic_launch

    if place.nodes > 1 and place.rendezvous is None:
        raise ValueError(f"launch.nodes={place.nodes}: nowhere to meet; give launch.rendezvous=HOST:PORT of the first")
    agent = AgentConfig(
        min_nodes=place.nodes,
        max_nodes=place.nodes,
        nproc_per_node=place.count(train),
        run_id=place.rendezvous or uuid.uuid4().hex,  # the same on every machine of the job
        rdzv_backend="c10d",
        rdzv_endpoint=place.rendezvous or "localhost:0",
        max_restarts=0,
        signals_to_handle="SIGQUIT",
    )
    # The agent reports a trainer that ended early as a crash; what happened is in the exit code.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        with _signals():
            elastic_launch(agent, sys.executable)("-m", "codeact_train", "--config", str(job), *arguments)
    except ChildFailedError as failed:
        _, first = failed.get_first_failure()
        too_early = first.exitcode == -signal.SIGTERM  # asked before it listened: there was nothing to save
        raise TrainingStopped(STOPPED if too_early else first.exitcode) from None
    except SignalException as told:
        raise TrainingStopped(-told.sigval) from None


@contextmanager
def _signals() -> Iterator[None]:
    """What asks to end is passed on inside; afterwards signals do what they did before, which the agent does not see
    to."""
    others = psutil.Process().children()

    def pass_on(number: int, frame: FrameType | None) -> None:
        """Tell the training processes. A scheduler that tells them too does no harm: they are told twice."""
        told = [child for child in psutil.Process().children() if child not in others]
        for child in told:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        if not told:  # still waiting for the other machines
            raise TrainingStopped(STOPPED)

    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGQUIT)}
    for number in STOP_SIGNALS:
        signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
