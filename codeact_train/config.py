"""Configuration of the trainer: what a person may set, what it means, and what it may not be.

Contract: frozen models, unknown keys are errors, one component a class. Relations to a model or a corpus are checked in
:mod:`codeact_train.plan`, because they need files. Nothing here imports torch, so launchers may read it for free.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Base of every configuration: immutable, unknown keys are errors, docstrings become descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PrepareConfig(Settings):
    """How records become a corpus."""

    sequence_length: int = Field(1024, ge=8)
    """Slots of a pack. A document of n tokens fills n - 1 slots: its last token is only ever a target."""
    over_long: Literal["error", "drop", "split"] = "error"
    """What happens to a document longer than a pack: stop and name it, leave it out, or cut it at the start of a turn.
    Nothing is ever cut in silence: the ledger counts every case."""
    validation_share: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the records held out for the validation loss, chosen by a hash of the record's id."""
    seed: int = 0
    """Seed of the choice of held-out records."""


class OptimizerSettings(Settings):
    """AdamW with linear warm-up, then cosine decay to ``min_lr`` at the last step."""

    lr: float = Field(2e-4, gt=0.0)
    """Peak learning rate."""
    min_lr: float = Field(2e-5, ge=0.0)
    """Learning rate of the last step."""
    warmup_steps: int = Field(0, ge=0)
    """Steps of linear warm-up; must be fewer than the run has."""
    weight_decay: float = Field(0.01, ge=0.0)
    """Decoupled weight decay; norms and biases have none."""
    beta1: float = Field(0.9, ge=0.0, lt=1.0)
    """Decay of the first moment."""
    beta2: float = Field(0.95, ge=0.0, lt=1.0)
    """Decay of the second moment."""
    eps: float = Field(1e-8, gt=0.0)
    """Term in Adam's denominator."""
    clip: float = Field(1.0, ge=0.0)
    """Largest global gradient norm; 0 clips nothing."""

    @model_validator(mode="after")
    def _falls(self) -> OptimizerSettings:
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr={self.min_lr:g} is above lr={self.lr:g}; lower min_lr or raise lr")
        return self


class ParallelSettings(Settings):
    """How the model is laid over processes. Data parallelism is what remains of the world size."""

    tensor: int = Field(1, ge=1)
    """Processes that share each matrix; divides attention heads, key-value heads and the MLP width."""
    sequence_parallel: bool = False
    """Also share norms and residuals along the sequence; needs ``tensor`` > 1."""
    distributed_optimizer: bool = False
    """Share optimizer state over data-parallel processes (ZeRO-1)."""

    @model_validator(mode="after")
    def _sequence_needs_tensor(self) -> ParallelSettings:
        if self.sequence_parallel and self.tensor == 1:
            raise ValueError(
                "sequence_parallel=true needs tensor > 1; set tensor to 2 or more, or sequence_parallel=false"
            )
        return self


class CheckpointSettings(Settings):
    """When the state of a run is written, and how much of it is kept."""

    every_steps: int | None = Field(None, ge=1)
    """Save after each so many steps, beside the save at the end of each epoch; ``null`` for epochs only."""
    keep: int = Field(1, ge=1)
    """How many checkpoints stay on disk; exports are never removed."""


class TrainConfig(Settings):
    """One training job."""

    epochs: int = Field(1, ge=1)
    """Passes over the corpus; each ends with validation, a checkpoint and a Hugging Face export."""
    global_batch_packs: int = Field(8, ge=1)
    """Packs of one optimizer step, over all processes. The last step of an epoch takes what is left."""
    micro_batch_packs: int = Field(1, ge=1)
    """Packs computed at once by one process; they stand one after another in one sequence."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """Optimizer and schedule."""
    parallel: ParallelSettings = ParallelSettings()
    """Layout over processes."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """Saving and pruning."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Type of weights and activations; with bf16 the main weights and gradients are fp32."""
    attention: Literal["auto", "sdpa"] = "auto"
    """Kernel of the packed attention; ``auto`` takes the best one present and says which."""
    seed: int = 0
    """Seed of the order of packs."""
    proofs: tuple[Literal["leak", "parity", "audit", "partition"], ...] = ("leak", "parity", "audit", "partition")
    """What is proved before the first step (``codeact_train.probes``); leave out the ones not wanted."""
    threads: int | None = Field(None, ge=1)
    """Threads of torch in each process; ``null`` leaves torch's own choice."""
    stop_after_steps: int | None = Field(None, ge=1)
    """End this job, saved and resumable, once the run has so many steps; the schedule does not change."""
    tensorboard: bool = True
    """Write TensorBoard event files beside ``metrics.jsonl``."""


class TrainJob(Settings):
    """What the trainer process reads: a resolved job, as JSON."""

    model: str
    """Hugging Face folder the weights come from."""
    corpus: str
    """Prepared corpus."""
    out: str
    """Where metrics, checkpoints and exports go; a job that finds checkpoints there goes on from them."""
    train: TrainConfig = TrainConfig()
    """How to train."""
