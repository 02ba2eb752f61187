"""Starts a training job in this process and returns its exit code.

How to: ``torchrun --nproc-per-node N -m codeact_train --config job.json`` (or plain ``python -m`` for one
process) with job.json = ``{"model": "<HF folder>", "corpus": "<folder>", "out": "runs/x/train", "train": {"epochs": 2,
...}}``.

Contract: an error the user can fix is one sentence and a code of :mod:`~codeact_train.system.exit_codes`, not a
traceback.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.distributed as dist

from codeact_train.checkpoint import train_folder
from codeact_train.checkpoint.integrity import CorruptSave
from codeact_train.config.train import TrainJob
from codeact_train.data.corpus import Corpus
from codeact_train.distributed import parallel_context
from codeact_train.distributed.parallel_context import ParallelContext
from codeact_train.model.source import ModelSource
from codeact_train.observability.anomaly import Diverged
from codeact_train.plan import validate
from codeact_train.startup_checks import StartupCheckFailed
from codeact_train.system import exit_codes, failures
from codeact_train.system.failures import FailedEverywhere, read_json_object
from codeact_train.system.folders import EXPORT, check_replaceable
from codeact_train.trainer import Trainer


def read_job(path: Path) -> TrainJob:
    """Read a job from a JSON file. Raises ``ValueError`` naming the mistake."""
    try:
        content = read_json_object(path, "`codeact train` writes it again")
    except OSError as error:
        raise ValueError(f"--config={path}: {error.strerror}; give the JSON file of a job") from error
    return TrainJob.model_validate(content)


def main(argv: list[str] | None = None) -> int:
    """Entry point of each process; returns its exit code."""
    parser = argparse.ArgumentParser(description="Train one job described by a JSON file.")
    parser.add_argument("--config", type=Path, required=True, help="resolved job: model, corpus, out, train")
    parser.add_argument("--export-to", type=Path, help="do not train; export the newest checkpoint to this folder")
    arguments = parser.parse_args(argv)
    logging.getLogger("megatron").setLevel(logging.WARNING)
    try:
        job = read_job(arguments.config)
        if job.train.threads:
            torch.set_num_threads(job.train.threads)
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        corpus = Corpus(job.corpus).folder  # raises when it is damaged
        source = ModelSource.read(job)
        validate(job.train, source, processes=processes, corpus=corpus)
        ctx = parallel_context.initialize(job.train.parallel, job.train.seed)
        code = _export(job, ctx, source, arguments.export_to) if arguments.export_to else _train(job, ctx, source)
    except ValueError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return exit_codes.BAD_CONFIG
    except StartupCheckFailed as error:
        print(f"trainer: {error}", file=sys.stderr)
        return exit_codes.CHECK_FAILED
    except (Diverged, CorruptSave) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return exit_codes.CORRUPT_STATE
    except FailedEverywhere as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"trainer: {error}", file=sys.stderr)
        return exit_codes.BAD_CONFIG
    except Exception as error:
        if _lost_a_process(error):
            return _end_with_the_job()
        sentence = failures.sentence(error)
        if sentence is None:
            raise
        print(f"trainer: {sentence}", file=sys.stderr)
        return exit_codes.BAD_CONFIG
    parallel_context.destroy()
    return code


def _lost_a_process(error: Exception) -> bool:
    """Whether a collective failed because another process of the job has ended."""
    return isinstance(error, RuntimeError) and "gloo" in str(error) and "Connection" in str(error)


def _end_with_the_job() -> int:
    """Ends this process after the one that failed, whose message and exit code have the reason.

    torchrun's agent reports the exit code of the process that ends first, and sends the others SIGTERM.
    """
    print("trainer: another process of this job has ended; its message has the reason", file=sys.stderr)
    agent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    for _ in range(10):
        if signal.sigtimedwait([signal.SIGTERM], 1) or os.getppid() != agent:
            break
    return 1


def _train(job: TrainJob, ctx: ParallelContext, source: ModelSource) -> int:
    """Train, holding the train folder; whether it may be written is decided before the model is loaded."""
    with ExitStack() as holding:
        digest = Corpus(job.corpus).digest
        _in_main(ctx, lambda: holding.enter_context(train_folder.held(job, digest)))
        return Trainer(job, ctx, source).run()


def _export(job: TrainJob, ctx: ParallelContext, source: ModelSource, out: Path) -> int:
    _in_main(ctx, lambda: check_replaceable(out, EXPORT, "--out"))
    return Trainer(job, ctx, source).export_newest(out)


def _in_main(ctx: ParallelContext, action: Callable[[], None]) -> None:
    """Run ``action`` in the main process; what a person must mend for it ends every process."""
    refusal = [""]
    if ctx.is_main:
        try:
            action()
        except (ValueError, OSError) as error:
            refusal = [failures.sentence(error) or str(error)]
    dist.broadcast_object_list(refusal, src=0, group=ctx.cpu_group)
    if refusal[0]:
        raise FailedEverywhere(refusal[0])
