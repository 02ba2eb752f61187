"""Training processes forked from this one, which has already imported everything.

Contract: :func:`run` computes runs one after another in one set of processes and yields the curve of each as it
finishes. If a process dies, all end and its output is the error. Cost: a fork a process instead of an import, and a
validation after every step. OpenMP must have at most one thread at the time of the fork (its threads do not survive
it).
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch.distributed as dist

from codeact_train.config.train import TrainJob
from codeact_train.distributed import parallel_context
from codeact_train.distributed.fork_ranks import fork_ranks
from codeact_train.distributed.parallel_context import World
from codeact_train.observability.metrics import MetricsLog
from codeact_train.parity.cases import REFERENCE_TRAINERS, Point
from codeact_train.trainer import Trainer


@dataclass(frozen=True)
class LayoutRun:
    """A job and the number of steps to compute. ``trainer``: an independent trainer instead of ours."""

    job: TrainJob
    steps: int
    trainer: str | None = None


def run(runs: list[LayoutRun], size: int, scratch: Path) -> Iterator[list[Point]]:
    """The curve of each run, computed by ``size`` processes.

    Raises ``RuntimeError`` with the traceback of a process that fails.
    """
    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)
    scratch.mkdir(parents=True)
    processes = fork_ranks(size, _process, runs, scratch, there)
    try:
        for _ in runs:
            ready = wait([here, *(process.sentinel for process in processes)])
            if here not in ready:
                raise RuntimeError(_first_output(scratch))
            yield here.recv()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()


def _process(rank: int, runs: list[LayoutRun], scratch: Path, results: Connection) -> int:
    logging.getLogger("megatron").setLevel(logging.ERROR)
    with (scratch / f"log-{rank}.txt").open("w") as log:
        sys.stdout = sys.stderr = log
        try:
            world = parallel_context.init_process_group()
            for each in runs:
                curve = _curve(each, world)
                if rank == 0:
                    results.send(curve)
                dist.barrier()  # a process that ended before the first has sent would look like one that died
        except Exception:
            traceback.print_exc(file=log)
            return 1
    return 0


def _curve(run: LayoutRun, world: World) -> list[Point]:
    """The curve the trainer computes, in the main process; empty in the others."""
    job, out = run.job, Path(run.job.out)
    if run.trainer:
        return REFERENCE_TRAINERS[run.trainer](job, run.steps)
    trainer = Trainer(job, parallel_context.init_model_parallel(job.train.parallel, job.train.seed, world))
    if trainer.ctx.is_main:
        trainer.log = MetricsLog(out, 0)
    validation = []
    for _ in range(run.steps):
        trainer.train_step()
        validation.append(trainer.validate().loss)
    if not trainer.log:
        return []
    trainer.log.close()
    events = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(e["loss"], e["grad_norm"], held_out) for e, held_out in zip(events, validation, strict=True)]


def _first_output(scratch: Path) -> str:
    logs = [path.read_text().strip() for path in sorted(scratch.glob("log-*.txt"))]
    return next((log for log in logs if log), "a process died without output")
