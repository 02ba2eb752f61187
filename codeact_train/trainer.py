"""The training loop.

Contract: runs a job to its end, or to a signal, or to ``stop_after_steps``; run again it goes on from the newest
checkpoint and ends with the weights of a run that never stopped. How a job is started stands in
:mod:`codeact_train.train`. Cost: see ``benchmarks/train_throughput.py``. It does not prepare data, evaluate, or choose
the best epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import torch
import torch.distributed as dist

from codeact_train import exit_codes, startup_checks
from codeact_train.backends.run_state import build_state
from codeact_train.checkpoint.manager import Checkpoint, Checkpoints
from codeact_train.config.train import TrainJob
from codeact_train.data.collate import MicroBatch, StepBatch
from codeact_train.data.corpus import Corpus, Split
from codeact_train.data.sampler import Sampler
from codeact_train.distributed import parallel_context
from codeact_train.hf.export import Export
from codeact_train.observability import anomaly_dump, metrics
from codeact_train.observability.anomaly import Alarm, Diverged, Guard
from codeact_train.observability.loss_stats import Outcome, mean
from codeact_train.observability.metrics import MetricsLog, Watch
from codeact_train.observability.mfu import Utilisation
from codeact_train.observability.profiler import Profiler
from codeact_train.observability.throughput import Meter
from codeact_train.observability.trackers import chosen as trackers_of

# what may change between a job and the one that goes on from it
_FREE = {
    "proofs", "threads", "stop_after_steps", "tensorboard", "export_precision", "wandb", "mlflow", "profile",
    "peak_tflops", "guard", "checkpoint", "parallel", "zero", "micro_batch_packs", "micro_batch_tokens",
    "validate_every_steps", "attention", "recompute",
}  # fmt: skip


class _StopAsked(Exception):
    """Some process of the job was told to stop."""


class Trainer:
    """One run in one process. Built ready to train; :meth:`run` does it."""

    def __init__(self, job: TrainJob, place: parallel_context.Place):
        train = job.train
        self.job, self.train, self.place = job, train, place
        self.out = Path(job.out)
        self.corpus = Corpus(job.corpus)
        self.sampler, self.validation = (
            Sampler(self.corpus, split, train, place.data_rank, place.data) for split in get_args(Split)
        )
        self.steps = self.sampler.steps_per_epoch * train.epochs
        self.state = build_state(job, place, self.steps)
        self.sampler.rows = self.validation.rows = self.state.rows
        self.checkpoints = Checkpoints(self.out / "checkpoints", self._identity(), train.checkpoint, place.device)
        self.guard = Guard(train.guard)
        self.meter = Meter(Utilisation.of(job, place))
        self.profiler = Profiler(train.profile, self.out / "profile", place.rank)
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
        }

    @property
    def _computed(self) -> dict[str, Any]:
        """How a step is computed: what the proofs hold for."""
        layout = self.train.model_dump(mode="json", include={"parallel", "zero", "recompute"})
        return {**layout, "attention": self.state.attention}

    def run(self) -> int:
        """Train to the end or to a reason to stop; returns the exit code."""
        self.checkpoints.clean()
        found = self.checkpoints.find()
        begun = found.meta["step"] if found else 0
        if self.place.is_main:
            self.log = MetricsLog(self.out, begun, trackers_of(self.train, self.out, begun))
        self.watch = Watch(self.steps, begun, shown=self.place.is_main)
        for number in exit_codes.ASKING:
            signal.signal(number, self._on_signal)
        dist.barrier()  # who reads that the job has started may stop it by any of its processes
        self._announce(found, begun)
        if found is None or found.meta.get("computed") != self._computed:
            self._prove()  # with the weights the run began with
        if found:
            self.checkpoints.resume(self.state)
            self.guard = Guard(self.train.guard, found.meta["guard"])
        elif self.train.validate_every_steps:
            self._tell_validation()
        last = min(self.steps, self.train.stop_after_steps or self.steps)
        try:
            with contextlib.suppress(_StopAsked):
                while self.state.step < last:
                    self.profiler.reach(self.state.step + 1)
                    self.train_step()
                    self._after_step()
            return self._end()
        except Diverged:
            self._save()  # of the step before, whose state this still is
            self._complete_save(wait=True)
            raise
        finally:
            self.profiler.close(self.state.step + 1)
            self.watch.close()
            if self.log:
                self.log.close()

    def train_step(self) -> float:
        """One optimizer step on the next global batch; returns its loss."""
        state, number = self.state, self.state.step + 1
        if number in self.train.guard.skip_steps:
            return self._leave_out(number)
        self.meter.begin()
        batch = self.sampler.batch(state.step)
        self.meter.loaded()
        state.clear()
        outcome = self._forward(batch, forward_only=False)
        norm = state.update() if math.isfinite(outcome.loss) else math.nan
        alarm = self.guard.judge(outcome.loss, norm)
        if alarm:
            self._keep(number, alarm)
        if alarm and alarm.fatal:
            self.guard.leave_out(number)
            return self._leave_out(number)
        measured = self.meter.read(batch)
        epoch = round(number / self.sampler.steps_per_epoch, 6)
        self._write(
            "step", epoch=epoch, **metrics.of(outcome), lr=state.lr, grad_norm=norm, **measured, time=time.time()
        )
        self.watch.step(number, outcome.loss, state.lr, measured)
        return outcome.loss

    def _keep(self, number: int, alarm: Alarm) -> None:
        """Note a step that went wrong, with a capsule and how to compute it again unless spikes had enough of them."""
        if not self.place.is_main:
            return
        kept = {}
        if alarm.fatal or self.guard.spikes <= self.train.guard.capsules:
            folder = anomaly_dump.write(self, number, alarm)
            kept["capsule"] = str(folder.relative_to(self.out))
            self.watch.say(f"step {number}: {alarm}; to compute it again: {anomaly_dump.command(folder)}")
        self._write("alarm", at=number, reason=alarm.reason, **kept)

    def _leave_out(self, number: int) -> float:
        """Let a step pass without taking it."""
        if self.state.step < number:
            self.state.skip()
        self.guard.passed += 1
        self._write("skip")
        self.watch.say(f"step {number} is left out")
        return math.nan

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
        if parallel_context.any_rank(self._stop_asked, self.place.device):
            raise _StopAsked
        return True

    def _after_step(self) -> None:
        """Save, validate and export when this step is the one for it."""
        self._complete_save(wait=False)
        step, per_epoch = self.state.step, self.sampler.steps_per_epoch
        validate, save = self.train.validate_every_steps, self.train.checkpoint.every_steps
        if step % per_epoch == 0:
            self._end_epoch(step // per_epoch)
            return
        notes = self._tell_validation() if validate and step % validate == 0 else {}
        if save and step % save == 0:
            self._save(**notes)

    def _end_epoch(self, epoch: int) -> None:
        """Validate, export, then save: a run killed between them resumes before the epoch's end and does all three
        again."""
        notes = self._tell_validation() if len(self.validation.plan) else {}
        self._export(epoch)
        self._save(**notes)

    def _tell_validation(self) -> dict[str, float]:
        """Validate and say so; returns what a checkpoint of this step notes."""
        outcome, step = self.validate(), self.state.step
        self._write("validation", **metrics.of(outcome), trained_tokens=outcome.tokens)
        self.watch.say(f"step {step}: validation loss {outcome.loss:.4f}, accuracy {outcome.accuracy:.1%}")
        return {"validation_loss": outcome.loss}

    def validate(self) -> Outcome:
        """Mean loss over the trained tokens of the held-out documents."""
        self.state.model.eval()
        with torch.no_grad():
            batches = self.validation.epoch()
            outcome = mean([(self._forward(batch, forward_only=True), batch.total_weight) for batch in batches])
        self.state.model.train()
        return outcome

    def _save(self, **notes: Any) -> None:
        """Begin to save this step, unless it is saved; one save at a time. Before the first there is nothing to."""
        if self.state.step and not self.checkpoints.holds(self.state.step):
            self._complete_save(wait=True)
            taken = self.state.step - self.guard.passed
            self.checkpoints.begin(self.state, taken=taken, guard=self.guard.memory, computed=self._computed, **notes)
            self._complete_save(wait=not self.train.checkpoint.asynchronous)

    def _complete_save(self, *, wait: bool) -> None:
        """Put a save in place that has ended, or with ``wait`` when it has."""
        done = self.checkpoints.complete(wait=wait)
        if done and self.log:
            saved, took = done
            self.log.write("checkpoint", saved.meta["step"], path=str(saved.path.relative_to(self.out)), **took)

    def export_newest(self, out: Path) -> int:
        """Write the newest checkpoint as a Hugging Face folder; returns the exit code."""
        if self.checkpoints.resume(self.state) is None:
            raise ValueError(f"out={self.out}: there is no checkpoint to export; train first")
        self._write_export(out, self.state.step // self.sampler.steps_per_epoch)
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
        finished = self.state.step == self.steps
        if not finished:
            self._save()
        self._complete_save(wait=True)
        if finished:
            return 0
        self.watch.say(f"stopped at step {self.state.step} of {self.steps}, saved; start the same job again to go on")
        return exit_codes.STOPPED

    def _announce(self, found: Checkpoint | None, begun: int) -> None:
        if self.log:
            about = {"steps": self.steps, "processes": self.place.world, "attention": self.state.attention}
            self.log.write("start", begun, **about, time=time.time())
        origin = f"going on from {found.path.name}" if found else "from the base model"
        self.watch.say(
            f"training {self.steps} steps, {self.sampler.steps_per_epoch} an epoch, {origin}; "
            f"{self.place.world} process(es), attention {self.state.attention}, {torch.get_num_threads()} threads"
        )
        if self.meter.utilisation:
            self.watch.say(str(self.meter.utilisation))

    def _prove(self) -> None:
        for proof in startup_checks.run(self):
            self._write("proof", name=proof.name, value=proof.value, bound=proof.bound)
            self.watch.say(f"proof {proof.name}: {proof.what} {proof.value:.2g}, at most {proof.bound:g}")

    def _write(self, kind: str, **values: Any) -> None:
        if self.log:
            self.log.write(kind, self.state.step, **values)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_asked = True
