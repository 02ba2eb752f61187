"""Computes a step again that went wrong: ``python -m codeact_train.replay runs/x/train/capsules/step-000012``.

Contract: says the loss of the capsule's batch on the weights of the nearest checkpoint before it (the base model's,
without one), names the documents that are not finite by themselves, then takes the steps between and says loss and
gradient norm of the step as it was. One process computes what several did (as many as torchrun starts, in the job's own
layout, if one cannot hold the model); nothing is written. Exit codes: 0 the step
is finite, 4 it is not, 2 there is no such capsule. Cost: the steps since the checkpoint, once more.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

import torch

from codeact_train import exit_codes
from codeact_train.config.train import ParallelSettings, TrainJob
from codeact_train.data.collate import StepBatch, collate
from codeact_train.distributed import parallel_context
from codeact_train.observability.anomaly_dump import Capsule
from codeact_train.trainer import Trainer


def replay(capsule: Capsule, folder: Path) -> int:
    """Compute it and say what comes out; returns the exit code."""
    job = TrainJob.model_validate(capsule.job)
    if "RANK" not in os.environ:
        alone = job.train.model_copy(update={"parallel": ParallelSettings()})
        job = job.model_copy(update={"train": alone})
    trainer = Trainer(job, parallel_context.start(job.train.parallel, job.train.seed))
    state, origin = trainer.state, trainer.checkpoints.resume(trainer.state, before=capsule.step)
    _say(trainer, f"step {capsule.step} was {capsule.reason}: loss {capsule.loss}, gradient norm {capsule.grad_norm}")
    for name, document in zip(capsule.documents, capsule.read_documents(folder), strict=True):
        whole = collate([document], job.train.parallel.slot_multiple, rows=state.rows)
        loss = _loss(trainer, StepBatch([whole], float(document.weights[1:].sum())))
        if not math.isfinite(loss):
            _say(trainer, f"  document {name['index']}, record {name['id']} of {name['source']}: loss {loss}")
    where = f"the weights of {origin.path.name}" if origin else "the base model"
    _say(trainer, f"on {where}: loss {_loss(trainer, trainer.sampler.batch(capsule.step - 1)):.6g}")
    taken = capsule.step - 1 - state.step
    while state.step < capsule.step - 1:
        if state.step + 1 in capsule.left_out or not all(map(math.isfinite, _step(trainer))):
            state.skip()
    torch.set_rng_state(torch.load(folder / "rng.pt", weights_only=True))
    loss, norm = _step(trainer)
    again = math.isfinite(loss) and math.isfinite(norm)
    _say(trainer, f"after the {taken} step(s) since: loss {loss:.6g}, gradient norm {norm:.6g}: "
         f"{'finite' if again else 'not finite again'}")  # fmt: skip
    parallel_context.stop()
    return 0 if again else exit_codes.UNSOUND


def _step(trainer: Trainer) -> tuple[float, float]:
    """Loss and gradient norm of the next step, which is taken if they are finite."""
    state = trainer.state
    batch = trainer.sampler.batch(state.step)
    state.clear()
    return state.loss(batch, iter(batch.micro_batches), forward_only=False).loss, state.update()


def _loss(trainer: Trainer, batch: StepBatch) -> float:
    with torch.no_grad():
        return trainer.state.loss(batch, iter(batch.micro_batches), forward_only=True).loss


def _say(trainer: Trainer, text: str) -> None:
    if trainer.place.is_main:
        print(text)


def main(argv: list[str] | None = None) -> int:
    """Entry point of each process; returns its exit code."""
    parser = argparse.ArgumentParser(description="Compute a step again that went wrong.")
    parser.add_argument("capsule", type=Path, help="folder that the trainer named")
    folder = parser.parse_args(argv).capsule
    try:
        return replay(Capsule.read(folder), folder)
    except ValueError as error:
        print(f"replay: {error}", file=sys.stderr)
        return exit_codes.BAD_CONFIG


if __name__ == "__main__":
    sys.exit(main())
