"""Starts the trainer under torchrun's agent on this machine and says how it ended.

The agent is used through its Python door, because the command ``torchrun`` does not pass on the exit codes by which
the trainer tells "stopped and saved" from "cannot run as configured".
"""

from __future__ import annotations

import json
import logging
import sys
import uuid
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from codeact_train.config import TrainConfig
from rollout.files import write_whole

STOPPED = 75
"""The trainer was asked to stop and saved its state."""


class LaunchConfig(BaseModel):
    """Where the training job runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    processes: int | None = Field(None, gt=0)
    """Training processes on this machine; null starts as many as the layout needs (one model replica)."""

    def count(self, train: TrainConfig) -> int:
        """The number of processes."""
        return self.processes or train.parallel.tensor


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


def run(job: Path, processes: int, *arguments: str) -> None:
    """Trains to the end, or does what further `arguments` of the trainer say.

    Raises:
        TrainingStopped: the trainer did not reach the end; started again it goes on from its last checkpoint.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig as AgentConfig
    from torch.distributed.launcher.api import elastic_launch

    agent = AgentConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    # The agent reports a trainer that ended early as a crash; what happened is in the exit code.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        elastic_launch(agent, sys.executable)("-m", "codeact_train.trainer", "--config", str(job), *arguments)
    except ChildFailedError as failed:
        _, first = failed.get_first_failure()
        raise TrainingStopped(first.exitcode) from None
    except SignalException:  # it was passed on to the trainer, which has saved and ended
        raise TrainingStopped(STOPPED) from None
