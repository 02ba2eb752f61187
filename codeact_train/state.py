"""What changes while a run trains, and what the loop asks of it: one contract for both backends.

Contract: a :class:`RunState` is a model, its optimizer and its schedule in this process. All processes call the same
methods in the same order. ``megatron`` lays models it has a mapping for over processes in every direction, ``zero``
any causal language model of transformers over data-parallel ones; :func:`build_state` imports the one asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from codeact_train.config import TrainJob
from codeact_train.export import Export
from codeact_train.micro_batch import MicroBatch, StepBatch
from codeact_train.outcome import Outcome
from codeact_train.parallel import Place


class RunState(Protocol):
    """Everything that changes while training."""

    model: nn.Module
    step: int
    """Optimizer steps taken."""
    vocab: int
    """Tokens the model knows."""
    attention: str
    """The attention kernel in use."""
    rows: bool
    """Whether a micro-batch must give each document a row of its own."""
    identity: dict[str, str]
    """What else than corpus, model and recipe a checkpoint must have in common with this run."""

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""

    def clear(self) -> None:
        """Forget all gradients."""

    def loss(self, batch: StepBatch, micro: Iterator[MicroBatch], *, forward_only: bool) -> Outcome:
        """Mean loss over the trained tokens of the global batch, the same in every process; adds its gradient unless
        ``forward_only``. ``micro`` yields the micro-batches of ``batch`` and may end the step by raising."""

    def update(self) -> float:
        """Take one step with the gradients there are; returns their global norm before clipping."""

    def write(self, folder: Path) -> None:
        """Save everything but the step into an empty folder."""

    def read(self, folder: Path) -> None:
        """Take over what :meth:`write` left, into a state that has not trained yet."""

    def export(self, tokenizer: Path, out: Path, *, epoch: int, checkpoint: str) -> Export | None:
        """Write a Hugging Face folder; returns None off the main process."""

    def token_losses(self, whole: MicroBatch) -> Tensor:
        """Loss of each trained token of a sequence, float32 [N] on the CPU in every process; no gradients."""

    def hidden(self, whole: MicroBatch) -> Tensor:
        """What the last layer of this process makes of its part of a sequence, float32 [S, 1, C]."""

    def gradient(self, batch: StepBatch) -> Tensor:
        """This process's part of the gradient of ``loss``, as one vector; leaves none behind."""


def build_state(job: TrainJob, place: Place, steps: int) -> RunState:
    """The model with the weights of ``job.model``, its optimizer, and the schedule of a run of ``steps``."""
    if job.train.backend == "deepspeed":
        from codeact_train.zero import ZeroState

        return ZeroState(job, place, steps)
    from codeact_train.megatron import MegatronState

    return MegatronState(job, place, steps)
