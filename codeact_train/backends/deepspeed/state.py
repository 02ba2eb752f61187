"""The state of a run on DeepSpeed: ``RunState`` for any causal language model of transformers.

Contract: see ``codeact_train.backends.run_state``. Loss, order, schedule and clipping equal Megatron's up to rounding.
Nothing here is random: a checkpoint needs weights, moments, schedule and step only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from codeact_train.backends.deepspeed import checkpoint, engine
from codeact_train.backends.deepspeed.forward import Forward
from codeact_train.backends.deepspeed.gather import gather_tensors
from codeact_train.backends.deepspeed.model import attention_name, load
from codeact_train.backends.megatron.optimizer import build_schedule, next_lr, set_lr
from codeact_train.checkpoint import async_save, integrity, optimizer_state
from codeact_train.checkpoint.integrity import Fingerprints
from codeact_train.config.train import TrainJob
from codeact_train.data.collate import MicroBatch, StepBatch
from codeact_train.distributed.parallel_context import ParallelContext, any_rank, sum_over_data_parallel
from codeact_train.hf import export
from codeact_train.hf.embedding_init import resize_embeddings
from codeact_train.model.gpt import DTYPES
from codeact_train.model.loss import normalised, token_results
from codeact_train.model.source import ModelSource
from codeact_train.observability.loss_stats import LossStats, count


class DeepSpeedState:
    """A model of transformers in DeepSpeed's engine."""

    def __init__(self, job: TrainJob, ctx: ParallelContext, source: ModelSource, total_steps: int):
        self.train, self.ctx = job.train, ctx
        self.step = 0
        self.source = source
        self.inner = load(source.folder, source.config, self.train)
        resize_embeddings(self.inner, source.vocabulary, self.train.new_tokens)
        self.export_dtype = DTYPES[self.train.export_precision or self.train.precision]
        self.vocab = int(self.inner.get_input_embeddings().weight.shape[0])  # type: ignore[index]
        self.attention = attention_name(self.inner)
        self.model, self.optimizer = engine.start(self.inner, self.train, ctx.device)
        self.schedule = build_schedule(self.optimizer, self.train, total_steps)
        self.forward = Forward(self.model, self.inner)
        self.rows = any_rank(not self.forward.keeps_apart(self.vocab, ctx.device), ctx.cpu_group)
        if self.rows:
            self.attention += ", a row a document"
        self.model.train()

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def next_lr(self) -> float:
        """Learning rate the schedule gives to the next step."""
        return next_lr(self.schedule)

    def zero_grad(self) -> None:
        """Drop all gradients."""
        engine.drop_gradients(self.model)

    def forward_backward(self, batch: StepBatch, *, forward_only: bool = False) -> LossStats:
        """Loss of a global batch; adds its gradient unless ``forward_only``."""
        parts, counts = [], []
        for number, one in enumerate(batch.micro_batches, start=1):
            own = one.to(self.ctx.device)
            results_2N = self._results(own)
            part = normalised(results_2N[0], own.weights, batch.total_weight)
            if not forward_only:
                self.model.set_gradient_accumulation_boundary(number == len(batch.micro_batches))
                self.model.backward(part * self.ctx.data)  # DeepSpeed averages over processes; this needs the sum
            parts.append(part.detach())
            counts.append(count(results_2N, own))
        loss = functools.reduce(torch.add, parts).double().reshape(1)
        loss_sum, *total = sum_over_data_parallel(torch.cat([loss, torch.stack(counts).sum(0)])).tolist()
        return LossStats(loss_sum, tuple(total))

    def optimizer_step(self, lr: float) -> float:
        """Clip and update unless the gradient is not finite; returns its norm before clipping."""
        before = self.lr
        set_lr(self.optimizer, lr)
        self.model.step()
        norm = float(self.model.get_global_grad_norm())
        if not math.isfinite(norm):  # DeepSpeed has skipped the update
            set_lr(self.optimizer, before)
        return norm

    def advance_schedule(self) -> None:
        """Count the step and set its learning rate."""
        self.schedule.step(1)
        self.step += 1

    def fingerprints(self) -> Fingerprints:
        """Fingerprints of the weights this process writes."""
        engine.release_gathered(self.model)
        return integrity.fingerprint(checkpoint.weights(self.inner, self.ctx))

    def write(self, folder: Path) -> async_save.PendingSave:
        """Start to save model, optimizer and schedule."""
        engine.release_gathered(self.model)
        steps = optimizer_state.steps_taken(self.model.optimizer.optimizer)
        rest = {"steps": steps, "schedule": self.schedule.state_dict()}
        weights = checkpoint.sharded_state_dict(self.inner, self.ctx)
        return async_save.write({"weights": weights, **rest}, folder)

    def read(self, folder: Path) -> None:
        """Load what :meth:`write` saved."""
        engine.release_gathered(self.model)
        rest = checkpoint.read(self.inner, folder, self.ctx)
        optimizer_state.set_steps(self.model.optimizer.optimizer, rest["steps"])
        self.schedule.load_state_dict(rest["schedule"])

    def export(self, tokenizer: Path, out: Path, *, epoch: int, checkpoint: str) -> export.Export | None:
        """Write a Hugging Face folder; returns ``None`` except in the main process."""
        engine.release_gathered(self.model)
        tensors = gather_tensors(self.inner, self.export_dtype, keep=self.ctx.is_main)
        if not self.ctx.is_main:
            return None

        def write_weights(folder: Path) -> str:
            self.inner.save_pretrained(folder, state_dict=tensors, max_shard_size=export.FILE_BYTES)
            return export.weights_digest(folder)

        return export.write_folder(
            write_weights, self.source.folder, tokenizer, out, self.export_dtype, self.vocab,
            step=self.step, epoch=epoch, checkpoint=checkpoint,
        )  # fmt: skip

    def token_losses(self, whole: MicroBatch) -> Tensor:
        """Loss of each trained token of a sequence, float32 [N] on the CPU."""
        with torch.no_grad():
            return self._results(whole.to(self.ctx.device))[0].cpu()

    def hidden(self, whole: MicroBatch) -> Tensor:
        """The logits of a sequence, float32 [S, 1, V]: every family has them, unlike a named last layer."""
        every = replace(whole, trained=torch.arange(whole.slots)).to(self.ctx.device)
        with torch.no_grad():
            return self.forward.trained_logits(every, rows=self.rows)[:, None].float()

    def gradients(self, batch: StepBatch) -> Iterator[Tensor]:
        """This process's part of the gradient, weight by weight."""
        self.zero_grad()
        self.forward_backward(batch)
        for number, parameter in enumerate(self.inner.parameters()):
            gradient = engine.full_gradient(parameter)
            if number % self.ctx.data == self.ctx.data_rank:
                yield gradient
        self.zero_grad()

    def _results(self, batch: MicroBatch) -> Tensor:
        logits_NV = self.forward.trained_logits(batch, rows=self.rows)
        return token_results(logits_NV, batch.labels, logits_NV.shape[1], self.train.z_loss)
