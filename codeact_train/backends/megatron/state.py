"""A run's state on Megatron-Core: ``RunState`` for the families there is a mapping for.

Contract: see ``state``. What each method does stands in the module it calls: ``steps``, ``optimizer``, ``moments``,
``sharded``, ``export``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codeact_train.backends.megatron import forward_backward, optimizer
from codeact_train.checkpoint import async_save, integrity, optimizer_state
from codeact_train.checkpoint.integrity import Fingerprints
from codeact_train.config.train import TrainJob
from codeact_train.data.collate import MicroBatch, StepBatch
from codeact_train.data.vocabulary import Vocabulary
from codeact_train.distributed.parallel_context import Place
from codeact_train.hf.export import Export, export
from codeact_train.model.attention import choose
from codeact_train.model.gpt import DTYPES
from codeact_train.model.spec import ModelSpec
from codeact_train.observability.loss_stats import Outcome


class MegatronState:
    """A GPTModel, Megatron's optimizer and its schedule."""

    rows = False

    def __init__(self, job: TrainJob, place: Place, total_steps: int):
        train = job.train
        self.step = 0
        self.source = Path(job.model)
        self.export_dtype = DTYPES[train.export_precision or train.precision]
        self.spec = replace(ModelSpec.read(job.model), vocab=Vocabulary.for_job(job).rows)
        self.vocab = self.spec.vocab
        self.attention = choose(train.attention, train.precision)
        self.model = forward_backward.build_model(job, self.spec, place)
        self.optimizer = optimizer.build_optimizer(self.model, train)
        self.schedule = optimizer.build_schedule(self.optimizer, train, total_steps)

    @property
    def lr(self) -> float:
        """See ``RunState``."""
        return float(self.optimizer.param_groups[0]["lr"])

    def clear(self) -> None:
        """See ``RunState``."""
        self.optimizer.zero_grad()
        self.model.zero_grad_buffer()

    def loss(self, batch: StepBatch, micro: Iterator[MicroBatch], *, forward_only: bool) -> Outcome:
        """See ``RunState``."""
        return forward_backward.global_loss(self.model, batch, micro, forward_only=forward_only)

    def update(self) -> float:
        """See ``RunState``."""
        self.skip()
        norm = optimizer.step(self.optimizer)
        if not math.isfinite(norm):
            self.skip(-1)
        return norm

    def skip(self, steps: int = 1) -> None:
        """See ``RunState``."""
        self.schedule.step(steps)
        self.step += steps

    def fingerprints(self) -> Fingerprints:
        """See ``RunState``."""
        forward_backward.settle(self.model)
        return integrity.of(async_save.held(self._weights()))

    def write(self, folder: Path) -> async_save.Writing:
        """See ``RunState``."""
        forward_backward.settle(self.model)
        return async_save.write(self._tree(loading=False), folder)

    def read(self, folder: Path) -> None:
        """See ``RunState``."""
        loaded = async_save.read(self._tree(loading=True), folder)
        self.model.module.load_state_dict(loaded["model"])
        optimizer_state.take(self.optimizer, loaded["optimizer"])
        self.schedule.load_state_dict(loaded["schedule"])
        torch.set_rng_state(loaded["rng"])

    def export(self, tokenizer: Path, out: Path, *, epoch: int, checkpoint: str) -> Export | None:
        """See ``RunState``."""
        forward_backward.settle(self.model)
        model = self.model.module
        return export(
            model, self.spec, self.source, tokenizer, out,
            step=self.step, epoch=epoch, checkpoint=checkpoint, dtype=self.export_dtype,
        )  # fmt: skip

    def token_losses(self, whole: MicroBatch) -> Tensor:
        """See ``RunState``."""
        return forward_backward.token_losses(self.model, whole)

    def hidden(self, whole: MicroBatch) -> Tensor:
        """See ``RunState``."""
        caught: list[Tensor] = []
        hook = self.model.module.decoder.register_forward_hook(
            lambda module, inputs, output: caught.append(output.float())
        )
        self.token_losses(whole)
        hook.remove()
        return caught[0]

    def gradient(self, batch: StepBatch) -> Tensor:
        """See ``RunState``."""
        self.model.zero_grad_buffer()
        self.loss(batch, iter(batch.micro_batches), forward_only=False)
        gradient = torch.cat([p.main_grad.flatten() for p in self.model.parameters()]).clone()
        self.model.zero_grad_buffer()
        return gradient

    def _weights(self) -> dict[str, Any]:
        return self.model.module.sharded_state_dict(metadata={"singleton_local_shards": False})

    def _tree(self, *, loading: bool) -> dict[str, Any]:
        """All that a checkpoint holds."""
        weights = self._weights()
        return {
            "model": weights,
            "optimizer": optimizer_state.tree(self.optimizer, weights, loading=loading),
            "schedule": self.schedule.state_dict(),
            "rng": torch.get_rng_state(),
        }
