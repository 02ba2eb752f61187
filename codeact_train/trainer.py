"""The training loop.

How to: ``torchrun --nproc-per-node N -m codeact_train --config job.json`` (or plain ``python -m`` for one
process) with job.json = ``{"model": "<HF folder>", "corpus": "<folder>", "out": "runs/x/train", "train": {"epochs": 2,
...}}``.

Contract: runs the job to its end, or to a signal, or to ``stop_after_steps``; started again with the same file it goes
on from the newest checkpoint and ends with the weights of a run that never stopped. Exit codes: 0 the run is finished;
75 it was stopped and saved, start it again to go on; 2 the configuration is impossible and says why; 3 a start-up proof
failed; anything else is a bug. Cost: see ``benchmarks/train_throughput.py``. It does not prepare data, evaluate, or
choose the best epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import torch
import torch.distributed as dist

from codeact_train import metrics, parallel, probes
from codeact_train.batches import Batches
from codeact_train.checkpoint import Checkpoints
from codeact_train.config import TrainJob
from codeact_train.corpus import Corpus, Split
from codeact_train.export import Export
from codeact_train.metrics import MetricsLog, Watch
from codeact_train.micro_batch import MicroBatch, StepBatch
from codeact_train.outcome import Outcome, mean
from codeact_train.plan import validate
from codeact_train.state import build_state

EXIT_STOPPED = 75
"""Exit code of a job that saved and stopped before its end (EX_TEMPFAIL: try again)."""
EXIT_PROOF_FAILED = 3
"""Exit code of a job whose start-up proofs did not hold."""
EXIT_BAD_CONFIG = 2
"""Exit code of a job that could not be started as configured."""

# what may change between a job and the one that goes on from it
_FREE = {
    "proofs",
    "threads",
    "stop_after_steps",
    "tensorboard",
    "checkpoint",
    "parallel",
    "zero",
    "micro_batch_packs",
    "micro_batch_tokens",
    "attention",
    "recompute",
}


class _StopAsked(Exception):
    """Some process of the job was told to stop."""


class Trainer:
    """One run in one process. Built ready to train; :meth:`run` does it."""

    def __init__(self, job: TrainJob, place: parallel.Place):
        train = job.train
        self.job, self.train, self.place = job, train, place
        self.out = Path(job.out)
        self.corpus = Corpus(job.corpus)
        self.batches, self.validation = (
            Batches(self.corpus, split, train, place.data_rank, place.data) for split in get_args(Split)
        )
        self.steps = self.batches.steps_per_epoch * train.epochs
        self.state = build_state(job, place, self.steps)
        self.batches.rows = self.validation.rows = self.state.rows
        self.checkpoints = Checkpoints(self.out / "checkpoints", self._identity(), train.checkpoint.keep)
        self.log: MetricsLog | None = None
        self.watch = Watch(self.steps, 0, shown=False)
        self._stop_asked = False

    def _identity(self) -> dict[str, str]:
        recipe = self.train.model_dump_json(exclude=_FREE)
        config = (Path(self.job.model) / "config.json").read_bytes()
        return {
            "corpus": self.corpus.digest,
            "recipe": hashlib.sha256(recipe.encode()).hexdigest()[:16],
            "model": hashlib.sha256(config).hexdigest()[:16],
            **self.state.identity,
        }

    def run(self) -> int:
        """Train to the end or to a reason to stop; returns the exit code."""
        resumed = self.checkpoints.resume(self.state)
        if self.place.is_main:
            self.log = MetricsLog(self.out, self.state.step, self.train.tensorboard)
        self.watch = Watch(self.steps, self.state.step, shown=self.place.is_main)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self._on_signal)
        self._announce(resumed)
        if resumed is None:
            self._prove()
        last = min(self.steps, self.train.stop_after_steps or self.steps)
        try:
            with contextlib.suppress(_StopAsked):
                while self.state.step < last:
                    self.train_step()
                    self._after_step()
            return self._end()
        finally:
            self.watch.close()
            if self.log:
                self.log.close()

    def train_step(self) -> float:
        """One optimizer step on the next global batch; returns its loss."""
        state = self.state
        began = time.monotonic()
        batch = self.batches.step(state.step)
        waited = time.monotonic() - began
        state.clear()
        outcome = self._forward(batch, forward_only=False)
        norm = state.update()
        counts = parallel.over_data([float(count) for count in batch.counts])
        took = time.monotonic() - began
        if self.log:
            self.log.write(
                "step", state.step, epoch=round(state.step / self.batches.steps_per_epoch, 6), loss=outcome.loss, lr=state.lr,
                grad_norm=norm, slots=int(counts[0]), real_tokens=int(counts[1]), trained_tokens=int(counts[2]),
                step_s=round(took, 6), data_wait_s=round(waited, 6), time=time.time(),
            )  # fmt: skip
        self.watch.step(state.step, outcome.loss, state.lr, counts[1] / took)
        return outcome.loss

    def _forward(self, batch: StepBatch, forward_only: bool) -> Outcome:
        """Loss of a global batch, the same in every process; gradients too unless ``forward_only``."""
        # validation runs to its end: stopped within, it would leave an epoch saved but not exported
        micro = iter(batch.micro_batches) if forward_only else self._unless_stopped(batch.micro_batches)
        return self.state.loss(batch, micro, forward_only=forward_only)

    def _unless_stopped(self, micro_batches: list[MicroBatch]) -> Iterator[MicroBatch]:
        """The micro-batches, as long as no process was told to stop. What a step has computed until then is forgotten:
        nothing has changed yet but gradients, and the grace period before a kill may be shorter than a step."""
        if self.place.pipeline > 1:  # its stages are never at the same micro-batch, so all are asked before the first
            self._heed()
            return iter(micro_batches)
        return (micro for micro in micro_batches if self._heed())

    def _heed(self) -> bool:
        """Ends the step in every process when one was told to stop."""
        if parallel.any_rank(self._stop_asked, self.place.device):
            raise _StopAsked
        return True

    def _after_step(self) -> None:
        """Save, validate and export when this step is the one for it."""
        step, per_epoch = self.state.step, self.batches.steps_per_epoch
        every = self.train.checkpoint.every_steps
        if step % per_epoch == 0:
            self._end_epoch(step // per_epoch)
        elif every and step % every == 0:
            self._save()

    def _end_epoch(self, epoch: int) -> None:
        """Validate, export, then save: a run killed between them resumes before the epoch's end and does all three
        again."""
        if len(self.validation.plan):
            outcome = self.validate()
            self._write("validation", **metrics.of(outcome), trained_tokens=outcome.tokens)
            self.watch.say(f"epoch {epoch}: validation loss {outcome.loss:.4f}, accuracy {outcome.accuracy:.1%}")
        self._export(epoch)
        self._save()

    def validate(self) -> Outcome:
        """Mean loss over the trained tokens of the held-out documents."""
        self.state.model.eval()
        with torch.no_grad():
            batches = self.validation.epoch()
            outcome = mean([(self._forward(batch, forward_only=True), batch.total_weight) for batch in batches])
        self.state.model.train()
        return outcome

    def _save(self) -> None:
        if self.checkpoints.latest() != self.checkpoints.path_of(self.state.step):
            path = self.checkpoints.save(self.state)
            self._write("checkpoint", path=str(path.relative_to(self.out)))

    def export_newest(self, out: Path) -> int:
        """Write the newest checkpoint as a Hugging Face folder; returns the exit code."""
        if self.checkpoints.resume(self.state) is None:
            raise ValueError(f"out={self.out}: there is no checkpoint to export; train first")
        self._write_export(out, self.state.step // self.batches.steps_per_epoch)
        return 0

    def _write_export(self, out: Path, epoch: int) -> Export | None:
        checkpoint = self.checkpoints.path_of(self.state.step).name
        return self.state.export(self.corpus.folder / "tokenizer", out, epoch=epoch, checkpoint=checkpoint)

    def _export(self, epoch: int) -> None:
        out = self.out / "exports" / f"epoch-{epoch}"
        done = self._write_export(out, epoch)
        if done:
            self._write("export", epoch=epoch, path=str(out.relative_to(self.out)), digest=done.digest)
        dist.barrier()

    def _end(self) -> int:
        if self.state.step == self.steps:
            return 0
        self._save()
        self.watch.say(f"stopped at step {self.state.step} of {self.steps}, saved; start the same job again to go on")
        return EXIT_STOPPED

    def _announce(self, resumed: Path | None) -> None:
        self._write(
            "start", steps=self.steps, processes=self.place.world, attention=self.state.attention, time=time.time()
        )
        origin = f"going on from {resumed.name}" if resumed else "from the base model"
        self.watch.say(
            f"training {self.steps} steps, {self.batches.steps_per_epoch} an epoch, {origin}; "
            f"{self.place.world} process(es), attention {self.state.attention}, {torch.get_num_threads()} threads"
        )

    def _prove(self) -> None:
        for proof in probes.run(self):
            self._write("proof", name=proof.name, value=proof.value, bound=proof.bound)
            self.watch.say(f"proof {proof.name}: {proof.what} {proof.value:.2g}, at most {proof.bound:g}")

    def _write(self, kind: str, **values: Any) -> None:
        if self.log:
            self.log.write(kind, self.state.step, **values)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_asked = True


def read_job(path: Path) -> TrainJob:
    """The job of a JSON file. Raises ``ValueError`` naming what is wrong with it."""
    return TrainJob.model_validate(json.loads(path.read_text(encoding="utf-8")))


def main(argv: list[str] | None = None) -> int:
    """Entry point of each process; returns its exit code."""
    parser = argparse.ArgumentParser(description="Train one job described by a JSON file.")
    parser.add_argument("--config", type=Path, required=True, help="resolved job: model, corpus, out, train")
    parser.add_argument("--export-to", type=Path, help="train nothing; write the newest checkpoint as this folder")
    arguments = parser.parse_args(argv)
    logging.getLogger("megatron").setLevel(logging.WARNING)
    try:
        job = read_job(arguments.config)
        if job.train.threads:
            torch.set_num_threads(job.train.threads)
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        validate(job.train, Path(job.model), processes=processes, corpus=Corpus(job.corpus).folder)
        place = parallel.start(job.train.parallel, job.train.seed)
        trainer = Trainer(job, place)
        code = trainer.export_newest(arguments.export_to) if arguments.export_to else trainer.run()
    except ValueError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    except probes.ProofFailed as error:
        print(f"trainer: {error}", file=sys.stderr)
        return EXIT_PROOF_FAILED
    parallel.stop()
    return code


if __name__ == "__main__":
    sys.exit(main())
