"""Computes a step that went wrong again: ``python -m codeact_train.parity.replay runs/x/train/anomalies/step-000012``.

Contract: prints the loss of the dump's batch on the weights of the nearest checkpoint before it (the base model if
there is none), names the documents whose loss alone is not finite, then takes the steps between and prints loss and
gradient norm of the step. One process computes what several did; if one cannot hold the model, start as many as the job
had with torchrun, and the job's layout is used. Nothing is written. Exit codes: 0 the step is finite, 4 it is not, 2
the folder contains no dump. Cost: the steps since the checkpoint, once more.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

import torch

from codeact_train.config.train import ParallelSettings, TrainJob
from codeact_train.data.collate import StepBatch, collate
from codeact_train.distributed import parallel_context
from codeact_train.observability.anomaly_dump import AnomalyDump
from codeact_train.system import exit_codes
from codeact_train.trainer import Trainer


def replay(dump: AnomalyDump, folder: Path) -> int:
    """Compute the step and print the results; returns the exit code."""
    job = TrainJob.model_validate(dump.job)
    if "RANK" not in os.environ:
        alone = job.train.model_copy(update={"parallel": ParallelSettings()})
        job = job.model_copy(update={"train": alone})
    trainer = Trainer(job, parallel_context.initialize(job.train.parallel, job.train.seed))
    state, origin = trainer.state, trainer.checkpoints.resume(trainer.state, before=dump.step)
    _say(trainer, f"step {dump.step} was {dump.reason}: loss {dump.loss}, gradient norm {dump.grad_norm}")
    for name, document in zip(dump.documents, dump.read_documents(folder), strict=True):
        whole = collate([document], job.train.parallel.slot_multiple, rows=state.rows)
        loss = _loss(trainer, StepBatch([whole], float(document.weights[1:].sum())))
        if not math.isfinite(loss):
            _say(trainer, f"  document {name['index']}, record {name['id']} of {name['source']}: loss {loss}")
    where = f"the weights of {origin.path.name}" if origin else "the base model"
    _say(trainer, f"on {where}: loss {_loss(trainer, trainer.sampler.batch(dump.step - 1)):.6g}")
    steps = dump.step - 1 - state.step
    while state.step < dump.step - 1:
        if state.step + 1 not in dump.skipped:
            _step(trainer)
        state.advance_schedule()
    torch.set_rng_state(torch.load(folder / "rng.pt", weights_only=True))
    loss, norm = _step(trainer)
    finite = math.isfinite(loss) and math.isfinite(norm)
    _say(trainer, f"after the {steps} step(s) since: loss {loss:.6g}, gradient norm {norm:.6g}: "
         f"{'finite' if finite else 'not finite again'}")  # fmt: skip
    parallel_context.destroy()
    return 0 if finite else exit_codes.CORRUPT_STATE


def _step(trainer: Trainer) -> tuple[float, float]:
    """Loss and gradient norm of the next step; updates the weights if the norm is finite."""
    state = trainer.state
    state.zero_grad()
    stats = state.forward_backward(trainer.sampler.batch(state.step))
    return stats.loss, state.optimizer_step(state.next_lr)


def _loss(trainer: Trainer, batch: StepBatch) -> float:
    with torch.no_grad():
        return trainer.state.forward_backward(batch, forward_only=True).loss


def _say(trainer: Trainer, text: str) -> None:
    if trainer.ctx.is_main:
        print(text)


def main(argv: list[str] | None = None) -> int:
    """Entry point of each process; returns its exit code."""
    parser = argparse.ArgumentParser(description="Compute a step that went wrong again.")
    parser.add_argument("dump", type=Path, help="folder of the dump, which the trainer names")
    folder = parser.parse_args(argv).dump
    try:
        return replay(AnomalyDump.read(folder), folder)
    except ValueError as error:
        print(f"replay: {error}", file=sys.stderr)
        return exit_codes.BAD_CONFIG


if __name__ == "__main__":
    sys.exit(main())
