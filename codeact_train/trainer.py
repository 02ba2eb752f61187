"""The training loop.

Contract: runs a job to its end, to a signal, or to ``stop_after_steps``. Started again, the job continues from the
newest checkpoint and ends with the weights of a run that never stopped. :mod:`codeact_train.train` starts a job. Cost:
see ``benchmarks/train_throughput.py``. The loop does not prepare data, evaluate, or choose the best epoch.

A signal stops the job before its next step. A stop therefore takes at most one step, plus validation and export if that
step ends an epoch, plus a save. ``codeact`` waits for it; SLURM jobs get five minutes' warning, so a step must be
shorter than that. A job killed before it has stopped resumes from its last checkpoint (``checkpoint.every_steps``).
"""

from __future__ import annotations

import math
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import torch
import torch.distributed as dist

from codeact_train import startup_checks
from codeact_train.backends.build import build_state
from codeact_train.checkpoint.manager import Checkpoint, CheckpointManager
from codeact_train.checkpoint.train_folder import job_identity
from codeact_train.config.train import TrainJob
from codeact_train.data.corpus import Corpus, Split
from codeact_train.data.corpus_inputs import changed_inputs
from codeact_train.data.sampler import Sampler
from codeact_train.distributed.parallel_context import ParallelContext, any_rank
from codeact_train.hf.export import Export
from codeact_train.model import quantization
from codeact_train.model.source import ModelSource
from codeact_train.observability import anomaly_dump, metrics
from codeact_train.observability.anomaly import Anomaly, AnomalyDetector, Diverged
from codeact_train.observability.loss_stats import LossStats, mean
from codeact_train.observability.metrics import ConsoleProgress, MetricsLog
from codeact_train.observability.mfu import ModelFlopsUtilization
from codeact_train.observability.profiler import Profiler
from codeact_train.observability.throughput import Throughput
from codeact_train.observability.trackers import build_trackers
from codeact_train.system import exit_codes


class Trainer:
    """One run in one process. Constructed ready to train; :meth:`run` trains."""

    def __init__(self, job: TrainJob, ctx: ParallelContext, source: ModelSource | None = None):
        """``source``: the model of the job, if it has been read already."""
        train = job.train
        self.job, self.train, self.ctx = job, train, ctx
        self.source = source or ModelSource.read(job)
        self.out = Path(job.out)
        self.corpus = Corpus(job.corpus)
        self.sampler, self.validation = (
            Sampler(self.corpus, split, train, ctx.data_rank, ctx.data) for split in get_args(Split)
        )
        self.steps = self.sampler.steps_per_epoch * train.epochs
        self.state = build_state(job, ctx, self.source, self.steps)
        self.sampler.rows = self.validation.rows = self.state.rows
        self.checkpoints = CheckpointManager(
            self.out / "checkpoints", self._identity(), train.checkpoint, ctx.cpu_group
        )
        self.detector = AnomalyDetector(train.guard)
        self.throughput = Throughput(ModelFlopsUtilization.of_run(self.source.spec, train, ctx))
        self.profiler = Profiler(train.profile, self.out / "profile", ctx.rank)
        self.log: MetricsLog | None = None
        self.progress = ConsoleProgress(self.steps, 0, shown=False)
        self._signalled = False

    def _identity(self) -> dict[str, str]:
        """What a checkpoint must have in common with this job."""
        return job_identity(self.train, Path(self.job.model), self.corpus.digest)

    @property
    def _computed(self) -> dict[str, Any]:
        """How a step is computed: the start-up checks are valid for this."""
        layout = self.train.model_dump(mode="json", include={"parallel", "zero", "recompute"})
        return {**layout, "attention": self.state.attention}

    def run(self) -> int:
        """Train to the end or to a reason to stop; returns the exit code."""
        self.checkpoints.remove_incomplete()
        found = self.checkpoints.find()
        first = found.meta["step"] if found else 0
        if self.ctx.is_main:
            self.log = MetricsLog(self.out, first, build_trackers(self.train, self.out, first))
        self.progress = ConsoleProgress(self.steps, first, shown=self.ctx.is_main)
        for number in exit_codes.STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        dist.barrier()  # once `start` is logged, every process handles signals
        self._report_start(found, first)
        if found is None or found.meta.get("computed") != self._computed:
            self._run_startup_checks()  # with the weights of the base model
            self.throughput.reset_memory_peak()
        if found:
            self.checkpoints.resume(self.state)
            self.detector = AnomalyDetector(self.train.guard, found.meta["guard"])
        elif self.train.validate_every_steps:
            self._validate_and_log()
        last = min(self.steps, self.train.stop_after_steps or self.steps)
        try:
            while self.state.step < last and not self._stop_requested():
                self.profiler.start_step(self.state.step + 1)
                self.train_step()
                self._after_step()
            return self._finish()
        except Diverged:
            self._save()  # the state is still that of the step before
            self._complete_save(wait=True)
            raise
        finally:
            self.profiler.close(self.state.step + 1)
            self.progress.close()
            if self.log:
                self.log.close()

    def train_step(self) -> float:
        """One optimizer step on the next global batch; returns its loss."""
        state, number = self.state, self.state.step + 1
        if number in self.train.guard.skip_steps:
            return self._skip_step(number)
        self.throughput.start_step()
        batch = self.sampler.batch(state.step)
        self.throughput.data_loaded()

        state.zero_grad()
        stats = state.forward_backward(batch)
        norm = state.optimizer_step(state.next_lr) if math.isfinite(stats.loss) else math.nan
        anomaly = self.detector.check(stats.loss, norm)
        if anomaly and anomaly.fatal:  # the weights have not changed
            self._dump_anomaly(number, anomaly)
            self.detector.count_not_finite(number)
            return self._skip_step(number)
        state.advance_schedule()

        if anomaly:
            self._dump_anomaly(number, anomaly)
        measured = self.throughput.end_step(batch)
        epoch = round(number / self.sampler.steps_per_epoch, 6)
        self._write(
            "step", epoch=epoch, **metrics.fields(stats), lr=state.lr, grad_norm=norm, **measured, time=time.time()
        )
        self.progress.show_step(number, stats.loss, state.lr, measured)
        return stats.loss

    def _dump_anomaly(self, number: int, anomaly: Anomaly) -> None:
        """Log a step that went wrong, with a dump and the command that replays it unless the spike-dump limit is
        reached."""
        if not self.ctx.is_main:
            return
        dumped = {}
        if anomaly.fatal or self.detector.spikes <= self.train.guard.dumps:
            folder = anomaly_dump.write(
                number, anomaly, self.job, self.sampler, self.corpus, processes=self.ctx.world,
                skipped=[*self.detector.not_finite, *self.train.guard.skip_steps],
            )  # fmt: skip
            dumped["dump"] = str(folder.relative_to(self.out))
            self.progress.say(f"step {number}: {anomaly}; to compute it again: {anomaly_dump.command(folder)}")
        self._write("anomaly", at=number, reason=anomaly.reason, **dumped)

    def _skip_step(self, number: int) -> float:
        """Count a step without taking it."""
        self.state.advance_schedule()
        self.detector.skipped += 1
        self._write("skip")
        self.progress.say(f"step {number} is skipped")
        return math.nan

    def _stop_requested(self) -> bool:
        """Whether a signal has asked any process to stop; the same answer in all of them. No GPU waits for it."""
        return any_rank(self._signalled, self.ctx.cpu_group)

    def _after_step(self) -> None:
        """Save, validate and export if this step is due for it."""
        self._complete_save(wait=False)
        step, per_epoch = self.state.step, self.sampler.steps_per_epoch
        validate, save = self.train.validate_every_steps, self.train.checkpoint.every_steps
        if step % per_epoch == 0:
            self._end_epoch(step // per_epoch)
            return
        notes = self._validate_and_log() if validate and step % validate == 0 else {}
        if save and step % save == 0:
            self._save(**notes)

    def _end_epoch(self, epoch: int) -> None:
        """Validate, export, then save. A run killed before the save resumes before the epoch's end and repeats all
        three."""
        notes = self._validate_and_log() if len(self.validation.plan) else {}
        self._export(epoch)
        self._save(**notes)

    def _validate_and_log(self) -> dict[str, float]:
        """Validate and log the result; returns what a checkpoint of this step notes."""
        stats, step = self.validate(), self.state.step
        self._write("validation", **metrics.fields(stats), trained_tokens=stats.tokens)
        self.progress.say(f"step {step}: validation loss {stats.loss:.4f}, accuracy {stats.accuracy:.1%}")
        return {"validation_loss": stats.loss}

    def validate(self) -> LossStats:
        """Mean loss over the trained tokens of the held-out documents."""
        self.state.model.eval()
        with torch.no_grad():
            stats = mean([
                (self.state.forward_backward(batch, forward_only=True), batch.total_weight)
                for batch in self.validation.epoch()
            ])  # fmt: skip
        self.state.model.train()
        return stats

    def _save(self, **notes: Any) -> None:
        """Start to save this step unless it is saved already or no step was taken. There is one save at a time."""
        if self.state.step and not self.checkpoints.has_step(self.state.step):
            self._complete_save(wait=True)
            self.checkpoints.start_save(
                self.state, steps_taken=self.state.step - self.detector.skipped, guard=self.detector.state_dict(),
                computed=self._computed, settings=self.train.model_dump(mode="json"), **notes,
            )  # fmt: skip
            self._complete_save(wait=not self.train.checkpoint.asynchronous)

    def _complete_save(self, *, wait: bool) -> None:
        """Publish a save that has been written; with ``wait``, wait until it has."""
        done = self.checkpoints.complete_save(wait=wait)
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

    def _finish(self) -> int:
        """Save an unfinished run and complete the last save; returns the exit code."""
        finished = self.state.step == self.steps
        if not finished:
            self._save()
        self._complete_save(wait=True)
        if finished:
            return 0
        saved = "saved" if self.state.step else "before there was anything to save"
        self.progress.say(
            f"stopped at step {self.state.step} of {self.steps}, {saved}; start the same job again to go on"
        )
        return exit_codes.STOPPED

    def _report_start(self, found: Checkpoint | None, first: int) -> None:
        if self.log:
            about = {"steps": self.steps, "processes": self.ctx.world, "attention": self.state.attention}
            self.log.write("start", first, **about, time=time.time())
        origin = f"resuming from {found.path.name}" if found else "from the base model"
        self.progress.say(
            f"training {self.steps} steps, {self.sampler.steps_per_epoch} an epoch, {origin}; "
            f"{self.ctx.world} process(es), attention {self.state.attention}, {torch.get_num_threads()} threads"
        )
        if notice := quantization.leftover(self.source.folder):
            self.progress.say(f"notice: {notice}")
        if self.ctx.is_main and (changed := changed_inputs(self.corpus.folder)):
            others = f" and {len(changed) - 1} others" if len(changed) > 1 else ""
            self.progress.say(
                f"the corpus is stale: {changed[0]}{others} changed after it was made; this run uses the corpus as it "
                "is, `codeact prepare` makes it again"
            )
        if self.throughput.mfu:
            self.progress.say(str(self.throughput.mfu))

    def _run_startup_checks(self) -> None:
        context = startup_checks.CheckContext(self.job, self.ctx, self.state, self.corpus, self.source)
        for check in startup_checks.run(context):
            self._write("startup_check", name=check.name, value=check.value, bound=check.bound)
            self.progress.say(
                f"start-up check {check.name}: {check.measures} {check.value:.2g}, at most {check.bound:g}"
            )

    def _write(self, kind: str, **values: Any) -> None:
        if self.log:
            self.log.write(kind, self.state.step, **values)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
