"""Two optimizer steps of a job in miniature: the recipe's layout and settings, a tiny model of its family, on CPU.

Contract: runs the real prepare, trainer, checkpoint and export in a folder that is gone afterwards, with as many
processes as one copy of the model takes, so that a setting that cannot work fails here and not on the cluster. Cost:
seconds, and some 400 MB of memory a process; layouts of more than ``MOST_PROCESSES`` are not tried.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codeact_train import ModelSpec, TrainConfig
from codeact_train.plan import miniature
from launch.config.launch import LaunchConfig
from launch.console import say
from launch.submit import torchrun

MOST_PROCESSES = 8


def dry_run(spec: ModelSpec, train: TrainConfig) -> str:
    """Train in miniature; returns a sentence.

    Raises:
        TrainingStopped: the trainer refused or failed; its sentence stands above.
    """
    processes = train.parallel.replica
    if processes > MOST_PROCESSES:
        return f"no dry run: one copy of the model takes {processes} processes, more than {MOST_PROCESSES}"
    say(f"dry run: two steps of a tiny {spec.hf.model_type} on CPU, {processes} process(es)")
    with tempfile.TemporaryDirectory(prefix="codeact-plan-") as scratch, _without_gpus():
        job = miniature(spec, train, Path(scratch))
        torchrun.run(job, LaunchConfig(), train)
    return f"dry run: two steps, a checkpoint and an export in {processes} process(es)"


@contextmanager
def _without_gpus() -> Iterator[None]:
    """Processes started within see no GPU."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
