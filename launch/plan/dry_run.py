"""Trains two optimizer steps on CPU with the recipe's layout and settings and a tiny model of its family.

Contract: runs the real prepare, trainer, checkpoint and export in a temporary folder, with the number of processes of
one model replica, so that a setting that cannot work fails here and not on the cluster. Cost: seconds, and about 400 MB
of memory a process; layouts of more than ``MOST_PROCESSES`` are not tried.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codeact_train import ModelSpec, TrainConfig
from codeact_train.plan import miniature
from launch.config.launch import LaunchConfig
from launch.console import say
from launch.submit import torchrun
from sandbox import temporary_folder

MOST_PROCESSES = 8


def dry_run(spec: ModelSpec, train: TrainConfig) -> str:
    """Trains a tiny model; returns a sentence.

    Raises:
        TrainingStopped: the trainer refused or failed, and has printed the reason.
    """
    processes = train.parallel.replica
    if processes > MOST_PROCESSES:
        return f"no dry run: one model replica takes {processes} processes, more than {MOST_PROCESSES}"
    say(f"dry run: two steps of a tiny {spec.hf.model_type} on CPU, {processes} process(es)")
    with temporary_folder("plan") as scratch, _without_gpus():
        job = miniature(spec, train, Path(scratch))
        torchrun.run(job, LaunchConfig(), train)
    return f"dry run: two steps, a checkpoint and an export in {processes} process(es)"


@contextmanager
def _without_gpus() -> Iterator[None]:
    """Hides GPUs from processes started within."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
