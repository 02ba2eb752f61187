"""Training processes forked from this one, which has imported everything already.

Contract: :func:`run` computes runs one after another in one set of processes and yields each one's curve as it is
finished. A process that dies ends the set, with what it said. Cost: a fork, not an import, a process, and the
validation loss after every step; OpenMP must not have started more than one thread before (its threads do not survive
a fork).
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

import torch
import torch.distributed as dist

from codeact_train.config.train import TrainJob
from codeact_train.distributed import parallel_context
from codeact_train.distributed.fork_ranks import fork_ranks
from codeact_train.observability.metrics import MetricsLog
from codeact_train.parity.cases import RIVALS, Point
from codeact_train.trainer import Trainer


@dataclass(frozen=True)
class Run:
    """A job, and how many of its steps are wanted."""

    job: TrainJob
    steps: int
    rival: str | None = None


def run(runs: list[Run], size: int, scratch: Path) -> Iterator[list[Point]]:
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
                raise RuntimeError(_last_words(scratch))
            yield here.recv()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()


def _process(rank: int, runs: list[Run], scratch: Path, results: Connection) -> int:
    logging.getLogger("megatron").setLevel(logging.ERROR)
    with (scratch / f"log-{rank}.txt").open("w") as log:
        sys.stdout = sys.stderr = log
        try:
            device = parallel_context.join()
            for each in runs:
                curve = _curve(each, device)
                if rank == 0:
                    results.send(curve)
                dist.barrier()  # a process that ended before the first has sent would look like one that died
        except Exception:
            traceback.print_exc(file=log)
            return 1
    return 0


def _curve(run: Run, device: torch.device) -> list[Point]:
    """What the trainer computes; on the main process, with the gradient norms of its log."""
    job, out = run.job, Path(run.job.out)
    if run.rival:
        return RIVALS[run.rival](job, run.steps)
    trainer = Trainer(job, parallel_context.arrange(job.train.parallel, job.train.seed, device))
    if trainer.place.is_main:
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


def _last_words(scratch: Path) -> str:
    logs = [path.read_text().strip() for path in sorted(scratch.glob("log-*.txt"))]
    return next((log for log in logs if log), "a process died without a word")
