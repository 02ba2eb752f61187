"""What the training loop asks of a backend.

Contract: a :class:`RunState` is a model, its optimizer and its schedule in this process. All processes call the same
methods in the same order. A step is ``zero_grad``, ``forward_backward``, ``optimizer_step``, ``advance_schedule``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from codeact_train.checkpoint.state import Checkpointable
from codeact_train.data.collate import MicroBatch, StepBatch
from codeact_train.hf.export import Export
from codeact_train.observability.loss_stats import LossStats


class RunState(Checkpointable, Protocol):
    """Everything that changes while training."""

    model: nn.Module
    vocab: int
    """Tokens the model knows."""
    attention: str
    """The attention kernel in use."""
    rows: bool
    """Whether a micro-batch must give each document a separate row."""

    @property
    def next_lr(self) -> float:
        """Learning rate the schedule gives to the next step."""

    def zero_grad(self) -> None:
        """Drop all gradients."""

    def forward_backward(self, batch: StepBatch, *, forward_only: bool = False) -> LossStats:
        """Mean loss over the trained tokens of the global batch, the same in every process; adds its gradient unless
        ``forward_only``. Reads values from the device once."""

    def optimizer_step(self, lr: float) -> float:
        """Clip the gradient and update the weights; returns the global gradient norm before clipping.

        Changes nothing when the norm is not finite.
        """

    def advance_schedule(self) -> None:
        """Count the step, whether its update was made or skipped, and set its learning rate."""

    def export(self, tokenizer: Path, out: Path, *, epoch: int, checkpoint: str) -> Export | None:
        """Write a Hugging Face folder; returns ``None`` except in the main process."""

    def token_losses(self, whole: MicroBatch) -> Tensor:
        """Loss of each trained token of a sequence, float32 [N] on the CPU in every process; no gradients."""

    def hidden(self, whole: MicroBatch) -> Tensor:
        """Output of this process's last layer for its part of a sequence, float32 [S, 1, C]."""

    def gradients(self, batch: StepBatch) -> Iterator[Tensor]:
        """This process's part of the gradient of the loss, weight by weight and in the same order at each call.

        Each tensor is valid until the next is asked for. The gradient is dropped from the model after the last.
        """
