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

from codeact_train.checkpoint.integrity import Fingerprints
from codeact_train.config.train import TrainJob
from codeact_train.data.collate import MicroBatch, StepBatch
from codeact_train.distributed.parallel_context import Place
from codeact_train.hf.export import Export
from codeact_train.observability.loss_stats import Outcome


class Writing(Protocol):
    """A save under way: what is trained meanwhile is no part of it."""

    def done(self) -> bool:
        """Whether this process has nothing left to write."""

    def end(self) -> Fingerprints:
        """Complete the folder together with all other processes; returns what this one has read back from it."""


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

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""

    def clear(self) -> None:
        """Forget all gradients."""

    def loss(self, batch: StepBatch, micro: Iterator[MicroBatch], *, forward_only: bool) -> Outcome:
        """Mean loss over the trained tokens of the global batch, the same in every process; adds its gradient unless
        ``forward_only``. ``micro`` yields the micro-batches of ``batch`` and may end the step by raising."""

    def update(self) -> float:
        """Take one step with the gradients there are; returns their global norm before clipping. A step whose norm is
        not finite is not taken."""

    def skip(self, steps: int = 1) -> None:
        """Let steps pass without taking them; -1 goes back over one that was not taken."""

    def fingerprints(self) -> Fingerprints:
        """Of the weights as they are, those this process stands for; under the names they are saved by."""

    def write(self, folder: Path) -> Writing:
        """Begin to save everything but the step, as it is now, into an empty folder. What shares it out over processes
        is no part of it."""

    def read(self, folder: Path) -> None:
        """Take over what :meth:`write` left in whatever layout, into a state that has not trained yet."""

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
        from codeact_train.backends.deepspeed.state import ZeroState

        return ZeroState(job, place, steps)
    from codeact_train.backends.megatron.state import MegatronState

    return MegatronState(job, place, steps)
