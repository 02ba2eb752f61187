"""The state of a run on Megatron-Core: ``RunState`` for the families with a mapping.

Contract: see ``codeact_train.backends.run_state``. The methods delegate to ``forward_backward``, ``optimizer``,
``checkpoint.optimizer_state``, ``checkpoint.async_save`` and ``hf.export``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codeact_train.backends.megatron import forward_backward, optimizer
from codeact_train.checkpoint import async_save, integrity, optimizer_state
from codeact_train.checkpoint.integrity import Fingerprints
from codeact_train.config.train import TrainJob
from codeact_train.data.collate import MicroBatch, StepBatch
from codeact_train.distributed.parallel_context import ParallelContext
from codeact_train.hf.export import Export, export
from codeact_train.model.attention import choose_backend
from codeact_train.model.gpt import DTYPES
from codeact_train.model.source import ModelSource
from codeact_train.observability.loss_stats import LossStats


class MegatronState:
    """A GPTModel, Megatron's optimizer and its schedule."""

    rows = False

    def __init__(self, job: TrainJob, ctx: ParallelContext, source: ModelSource, total_steps: int):
        train = job.train
        self.step = 0
        self.source = source
        self.export_dtype = DTYPES[train.export_precision or train.precision]
        self.spec = source.resized_spec
        self.vocab = self.spec.vocab
        self.attention = choose_backend(train.attention, train.precision, self.spec.head_dim)
        self.model = forward_backward.build_model(source, train, ctx)
        self.optimizer = optimizer.build_optimizer(self.model, train)
        self.schedule = optimizer.build_schedule(self.optimizer, train, total_steps)

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def next_lr(self) -> float:
        """Learning rate the schedule gives to the next step."""
        return optimizer.next_lr(self.schedule)

    def zero_grad(self) -> None:
        """Drop all gradients."""
        self.optimizer.zero_grad()
        self.model.zero_grad_buffer()

    def forward_backward(self, batch: StepBatch, *, forward_only: bool = False) -> LossStats:
        """Loss of a global batch; adds its gradient unless ``forward_only``."""
        return forward_backward.global_loss(self.model, batch, forward_only=forward_only)

    def optimizer_step(self, lr: float) -> float:
        """Clip and update unless the gradient is not finite; returns its norm before clipping."""
        return optimizer.step(self.optimizer, lr)

    def advance_schedule(self) -> None:
        """Count the step and set its learning rate."""
        self.schedule.step(1)
        self.step += 1

    def fingerprints(self) -> Fingerprints:
        """Fingerprints of the weights this process owns."""
        forward_backward.finish_param_sync(self.model)
        return integrity.fingerprint(async_save.owned_shards(self._weights()))

    def write(self, folder: Path) -> async_save.PendingSave:
        """Start to save model, optimizer, schedule and random state."""
        forward_backward.finish_param_sync(self.model)
        return async_save.write(self._state_dict(loading=False), folder)

    def read(self, folder: Path) -> None:
        """Load what :meth:`write` saved."""
        loaded = async_save.read(self._state_dict(loading=True), folder)
        self.model.module.load_state_dict(loaded["model"])
        optimizer_state.load_state_dict(self.optimizer, loaded["optimizer"])
        self.schedule.load_state_dict(loaded["schedule"])
        torch.set_rng_state(loaded["rng"])

    def export(self, tokenizer: Path, out: Path, *, epoch: int, checkpoint: str) -> Export | None:
        """Write a Hugging Face folder; returns ``None`` except in the main process."""
        forward_backward.finish_param_sync(self.model)
        model = self.model.module
        return export(
            model, self.spec, self.source.folder, tokenizer, out,
            step=self.step, epoch=epoch, checkpoint=checkpoint, dtype=self.export_dtype,
        )  # fmt: skip

    def token_losses(self, whole: MicroBatch) -> Tensor:
        """Loss of each trained token of a sequence, float32 [N] on the CPU."""
        return forward_backward.token_losses(self.model, whole)

    def hidden(self, whole: MicroBatch) -> Tensor:
        """Output of this stage's last layer, float32 [S, 1, C]."""
        caught: list[Tensor] = []
        hook = self.model.module.decoder.register_forward_hook(
            lambda module, inputs, output: caught.append(output.float())
        )
        self.token_losses(whole)
        hook.remove()
        return caught[0]

    def gradients(self, batch: StepBatch) -> Iterator[Tensor]:
        """This process's part of the gradient, weight by weight."""
        self.model.zero_grad_buffer()
        self.forward_backward(batch)
        for parameter in self.model.parameters():
            yield parameter.main_grad
        self.model.zero_grad_buffer()

    def _weights(self) -> dict[str, Any]:
        return self.model.module.sharded_state_dict(metadata={"singleton_local_shards": False})

    def _state_dict(self, *, loading: bool) -> dict[str, Any]:
        """Everything a checkpoint holds."""
        weights = self._weights()
        return {
            "model": weights,
            "optimizer": optimizer_state.sharded_state_dict(self.optimizer, weights, loading=loading),
            "schedule": self.schedule.state_dict(),
            "rng": torch.get_rng_state(),
        }
