"""A run's state on DeepSpeed: ``RunState`` for any causal language model of transformers.

Contract: see ``codeact_train.state``. Loss, order, schedule and clipping are Megatron's to rounding. Nothing here is
random: weights, moments, schedule and step are all a checkpoint needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from codeact_train import export, fingerprint, moments, sharded
from codeact_train.config import TrainJob
from codeact_train.fingerprint import Fingerprints
from codeact_train.loss import normalised, token_results
from codeact_train.micro_batch import MicroBatch, StepBatch
from codeact_train.model import DTYPES
from codeact_train.new_rows import enlarge
from codeact_train.optimizer import build_schedule
from codeact_train.outcome import Outcome, tally
from codeact_train.parallel import Place, any_rank, over_data
from codeact_train.vocabulary import Vocabulary
from codeact_train.zero import engine, saved
from codeact_train.zero.forward import Forward
from codeact_train.zero.model import attention_name, load
from codeact_train.zero.whole import whole_tensors


class ZeroState:
    """A model of transformers in DeepSpeed's engine."""

    def __init__(self, job: TrainJob, place: Place, total_steps: int):
        self.train, self.place = job.train, place
        self.step = 0
        self.source = Path(job.model)
        self.inner = load(self.source, self.train)
        enlarge(self.inner, Vocabulary.of_job(job), self.train.new_tokens)
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
        return fingerprint.of(saved.weights(self.inner, self.place))

    def write(self, folder: Path) -> sharded.Writing:
        """See ``RunState``."""
        engine.settle(self.model)
        steps = moments.steps_taken(self.model.optimizer.optimizer)
        rest = {"steps": steps, "schedule": self.schedule.state_dict()}
        return sharded.write({"weights": saved.tree(self.inner, self.place), **rest}, folder)

    def read(self, folder: Path) -> None:
        """See ``RunState``."""
        engine.settle(self.model)
        rest = saved.read(self.inner, folder, self.place)
        moments.set_steps(self.model.optimizer.optimizer, rest["steps"])
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
