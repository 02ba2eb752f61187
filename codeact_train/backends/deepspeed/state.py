"""A run's state on DeepSpeed: ``RunState`` for any causal language model of transformers.

Contract: see ``codeact_train.backends.run_state``. Loss, order, schedule and clipping are Megatron's to rounding.
Nothing here is random: weights, moments, schedule and step are all a checkpoint needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from codeact_train.backends.deepspeed import checkpoint, engine
from codeact_train.backends.deepspeed.forward import Forward
from codeact_train.backends.deepspeed.gather import whole_tensors
from codeact_train.backends.deepspeed.model import attention_name, load
from codeact_train.backends.megatron.optimizer import build_schedule
from codeact_train.checkpoint import async_save, integrity, optimizer_state
from codeact_train.checkpoint.integrity import Fingerprints
from codeact_train.config.train import TrainJob
from codeact_train.data.collate import MicroBatch, StepBatch
from codeact_train.data.vocabulary import Vocabulary
from codeact_train.distributed.parallel_context import Place, any_rank, over_data
from codeact_train.hf import export
from codeact_train.hf.embedding_init import enlarge
from codeact_train.model.gpt import DTYPES
from codeact_train.model.loss import normalised, token_results
from codeact_train.observability.loss_stats import Outcome, tally


class ZeroState:
    """A model of transformers in DeepSpeed's engine."""

    def __init__(self, job: TrainJob, place: Place, total_steps: int):
        self.train, self.place = job.train, place
        self.step = 0
        self.source = Path(job.model)
        self.inner = load(self.source, self.train)
        enlarge(self.inner, Vocabulary.for_job(job), self.train.new_tokens)
        self.export_dtype = DTYPES[self.train.export_precision or self.train.precision]
        self.vocab = int(self.inner.get_input_embeddings().weight.shape[0])  # type: ignore[index]
        self.attention = attention_name(self.inner)
        self.model, self.optimizer = engine.start(self.inner, self.train, place.device)
        self.schedule = build_schedule(self.optimizer, self.train, total_steps)
        self.forward = Forward(self.model, self.inner)
        self.rows = any_rank(not self.forward.keeps_apart(self.vocab, place.device), place.device)
        if self.rows:
            self.attention += ", a row a document"
        self.model.train()

    @property
    def lr(self) -> float:
        """See ``RunState``."""
        return float(self.optimizer.param_groups[0]["lr"])

    def clear(self) -> None:
        """See ``RunState``."""
        engine.forget(self.model)

    def loss(self, batch: StepBatch, micro: Iterator[MicroBatch], *, forward_only: bool) -> Outcome:
        """See ``RunState``."""
        parts, counts = [], []
        for number, one in enumerate(micro, start=1):
            own = one.to(self.place.device)
            results_2N = self._results(own)
            part = normalised(results_2N[0], own.weights, batch.total_weight)
            if not forward_only:
                self.model.set_gradient_accumulation_boundary(number == len(batch.micro_batches))
                self.model.backward(part * self.place.data)  # gradients are averaged over processes, and must be summed
            parts.append(part.detach())
            counts.append(tally(results_2N, own))
        loss, *summed = over_data([float(sum(parts)), *torch.stack(counts).sum(0).tolist()])
        return Outcome(loss, tuple(summed))

    def update(self) -> float:
        """See ``RunState``."""
        self.skip()
        self.model.step()
        norm = float(self.model.get_global_grad_norm())
        if not math.isfinite(norm):
            self.skip(-1)
        return norm

    def skip(self, steps: int = 1) -> None:
        """See ``RunState``."""
        self.schedule.step(steps)
        self.step += steps

    def fingerprints(self) -> Fingerprints:
        """See ``RunState``."""
        engine.settle(self.model)
        return integrity.of(checkpoint.weights(self.inner, self.place))

    def write(self, folder: Path) -> async_save.Writing:
        """See ``RunState``."""
        engine.settle(self.model)
        steps = optimizer_state.steps_taken(self.model.optimizer.optimizer)
        rest = {"steps": steps, "schedule": self.schedule.state_dict()}
        return async_save.write({"weights": checkpoint.tree(self.inner, self.place), **rest}, folder)

    def read(self, folder: Path) -> None:
        """See ``RunState``."""
        engine.settle(self.model)
        rest = checkpoint.read(self.inner, folder, self.place)
        optimizer_state.set_steps(self.model.optimizer.optimizer, rest["steps"])
        self.schedule.load_state_dict(rest["schedule"])

    def export(self, tokenizer: Path, out: Path, *, epoch: int, checkpoint: str) -> export.Export | None:
        """See ``RunState``."""
        engine.settle(self.model)
        tensors = whole_tensors(self.inner, self.export_dtype, keep=self.place.is_main)
        if not self.place.is_main:
            return None

        def write_weights(folder: Path) -> str:
            self.inner.save_pretrained(folder, state_dict=tensors, max_shard_size=export.FILE_BYTES)
            return export.weights_digest(folder)

        return export.write_folder(
            write_weights, self.source, tokenizer, out, self.export_dtype, self.vocab,
            step=self.step, epoch=epoch, checkpoint=checkpoint,
        )  # fmt: skip

    def token_losses(self, whole: MicroBatch) -> Tensor:
        """See ``RunState``."""
        with torch.no_grad():
            return self._results(whole.to(self.place.device))[0].cpu()

    def hidden(self, whole: MicroBatch) -> Tensor:
        """See ``RunState``: the logits, which every family has."""
        every = replace(whole, trained=torch.arange(whole.slots)).to(self.place.device)
        with torch.no_grad():
            return self.forward.trained_logits(every, rows=self.rows)[:, None].float()

    def gradient(self, batch: StepBatch) -> Tensor:
        """See ``RunState``."""
        self.clear()
        self.loss(batch, iter(batch.micro_batches), forward_only=False)
        own = []
        for number, parameter in enumerate(self.inner.parameters()):
            gradient = engine.full_gradient(parameter)
            if number % self.place.data == self.place.data_rank:
                own.append(gradient.flatten().clone())
        self.clear()
        return torch.cat(own)

    def _results(self, batch: MicroBatch) -> Tensor:
        logits_NV = self.forward.trained_logits(batch, rows=self.rows)
        return token_results(logits_NV, batch.labels, logits_NV.shape[1], self.train.z_loss)
