"""Configuration of the trainer: what a person may set, what it means, and what it may not be.

Contract: frozen models, unknown keys are errors, one component a class. Relations to a model or a corpus are checked in
:mod:`codeact_train.plan`, because they need files. Nothing here imports torch, so launchers may read it for free.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from codeact_train.config.base import Settings

NewTokens: TypeAlias = Literal["mean", "last_row"]


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
    """Processes that share each matrix; divides attention heads and MLP width, and divides the key-value heads or is a
    multiple of them."""
    sequence_parallel: bool = False
    """Also share norms and residuals along the sequence; needs ``tensor`` > 1."""
    pipeline: int = Field(1, ge=1)
    """Stages of layers, each in processes of its own; divides the number of layers."""
    context: int = Field(1, ge=1)
    """Processes that share each sequence, a stretch of slots each; every one sees the keys of all."""
    distributed_optimizer: bool = False
    """Share optimizer state over data- and context-parallel processes (ZeRO-1)."""
    overlap: bool = False
    """Reduce gradients while the backward pass still runs and, with ``distributed_optimizer``, fetch weights while the
    forward pass does."""

    @property
    def replica(self) -> int:
        """Processes that hold one copy of the model."""
        return self.tensor * self.pipeline * self.context

    @property
    def slot_multiple(self) -> int:
        """What the slots of a micro-batch must be a multiple of to be cut evenly."""
        return self.context * (self.tensor if self.sequence_parallel else 1)

    @model_validator(mode="after")
    def _sequence_needs_tensor(self) -> ParallelSettings:
        if self.sequence_parallel and self.tensor == 1:
            raise ValueError(
                "sequence_parallel=true needs tensor > 1; set tensor to 2 or more, or sequence_parallel=false"
            )
        return self


class ZeroSettings(Settings):
    """What DeepSpeed shares between processes, and what it keeps off the GPU."""

    stage: Literal[1, 2, 3] = 2
    """Shared are optimizer state (1), gradients too (2), weights too (3)."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What lies in the host's memory: optimizer state, which is updated there; with ``all`` weights too (stage 3)."""

    @model_validator(mode="after")
    def _weights_are_shared(self) -> ZeroSettings:
        if self.offload == "all" and self.stage != 3:
            raise ValueError(f"offload=all needs stage=3, not {self.stage}; set stage=3 or offload=optimizer")
        return self


class CheckpointSettings(Settings):
    """When the state of a run is written, and how much of it is kept."""

    every_steps: int | None = Field(None, ge=1)
    """Save after each so many steps, beside the save at the end of each epoch; ``null`` for epochs only."""
    asynchronous: bool = True
    """Go on training while a checkpoint is written; a copy of the state is in the host's memory meanwhile."""
    keep: int = Field(1, ge=1)
    """How many of the newest checkpoints stay on disk; exports are never removed."""
    keep_every_steps: int | None = Field(None, ge=1)
    """Checkpoints of multiples of so many steps stay for good."""
    keep_best: bool = False
    """The checkpoint with the lowest validation loss stays, until there is a better one."""


class GuardSettings(Settings):
    """What is done about a step whose loss or gradient is not finite, or leaps."""

    spike: float | None = Field(10.0, gt=1.0)
    """A loss or gradient norm above so many times the median of the last 32 steps is a spike: its batch goes into a
    capsule, and training goes on. ``null`` looks for none."""
    capsules: int = Field(8, ge=1)
    """How many capsules of spikes a run writes; later ones are in the metrics only."""
    skip_limit: int = Field(0, ge=0)
    """How many steps that are not finite a run may leave out; the next one ends the job with exit code 4."""
    skip_steps: tuple[int, ...] = ()
    """Steps that are left out, their batches with them."""


class ProfileSettings(Settings):
    """A window of steps under torch's profiler."""

    first_step: int = Field(ge=1)
    """The first step recorded; the run's first few are not like the others."""
    steps: int = Field(2, ge=1)
    """How many are recorded."""


class TrainConfig(Settings):
    """One training job."""

    epochs: int = Field(1, ge=1)
    """Passes over the corpus; each ends with validation, a checkpoint and a Hugging Face export."""
    global_batch_packs: int = Field(8, ge=1)
    """Packs of one optimizer step, over all processes. The last step of an epoch takes what is left."""
    global_batch_tokens: int | None = Field(None, ge=1)
    """Real tokens of one optimizer step, instead of a number of packs: an epoch is cut, between packs, into equal steps
    of at most about this many. At least a pack makes a step."""
    micro_batch_packs: int = Field(1, ge=1)
    """Packs computed at once by one process; they stand one after another in one sequence."""
    micro_batch_tokens: int | None = Field(None, ge=1)
    """Slots computed at once by one process, instead of a number of packs: the documents of the step's packs are laid
    anew into sequences of at most this many. A document that is longer goes alone. The result is the same."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """Optimizer and schedule."""
    backend: Literal["megatron", "deepspeed"] = "megatron"
    """What lays the model over processes: Megatron-Core, for the families ``codeact_train.model.spec`` lists, or
    DeepSpeed, for any causal language model of transformers."""
    parallel: ParallelSettings = ParallelSettings()
    """Layout over processes, with Megatron-Core."""
    zero: ZeroSettings = ZeroSettings()
    """What processes share, with DeepSpeed; each computes micro-batches of its own."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """Saving and pruning."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Type of weights and activations; with bf16 the main weights and gradients are fp32."""
    new_tokens: NewTokens = "mean"
    """What embedding and head begin with for tokens that ``prepare.add_tokens`` gave the corpus: the mean of the rows
    of all tokens the model knows, or, as the paper's code has it, a copy of the last of them."""
    export_precision: Literal["fp32", "bf16"] | None = None
    """Type of exported weights; ``null`` for that of the training, beyond which there are no digits to write."""
    attention: Literal["auto", "flash", "varlen", "flex", "sdpa", "reference"] = "auto"
    """Kernel of the packed attention; ``auto`` takes the first of these that is present and says which."""
    recompute: Literal["none", "selective", "full"] = "none"
    """What the backward pass computes again instead of keeping: nothing; what is cheap, norms and the product within
    the MLP; all of each layer from its input on."""
    z_loss: float = Field(0.0, ge=0.0)
    """Weight of the squared log of the softmax's denominator, added to the gradient and not to the reported loss."""
    seed: int = 0
    """Seed of the order of packs."""
    proofs: tuple[Literal["leak", "window", "parity", "audit", "partition"], ...] = (
        "leak", "window", "parity", "audit", "partition",
    )  # fmt: skip
    """What is proved before the first step (``codeact_train.startup_checks``); leave out the ones not wanted."""
    threads: int | None = Field(None, ge=1)
    """Threads of torch in each process; ``null`` leaves torch's own choice."""
    validate_every_steps: int | None = Field(None, ge=1)
    """Take the validation loss before the first step and after each so many, beside that at the end of each epoch;
    ``null`` for epochs only."""
    stop_after_steps: int | None = Field(None, ge=1)
    """End this job, saved and resumable, once the run has so many steps; the schedule does not change."""
    guard: GuardSettings = GuardSettings()
    """Steps that went wrong."""
    profile: ProfileSettings | None = None
    """Steps to profile; ``null`` for none."""
    peak_tflops: float | None = Field(None, gt=0.0)
    """Peak of one processor, for the utilisation in the metrics; ``null`` for that of the GPU, if it is a known one."""
    tensorboard: bool = True
    """Write TensorBoard event files beside ``metrics.jsonl``."""
    wandb: str | None = None
    """Project of Weights & Biases that also gets the curves."""
    mlflow: str | None = None
    """Experiment of MLflow that also gets the curves."""

    @model_validator(mode="after")
    def _export_has_the_digits(self) -> TrainConfig:
        if self.export_precision == "fp32" and self.precision == "bf16":
            raise ValueError("export_precision=fp32 with precision=bf16: the weights have no more digits; leave it out")
        return self

    @model_validator(mode="after")
    def _backend_can(self) -> TrainConfig:
        if self.backend == "megatron":
            return self
        for key, wrong, instead in (
            ("parallel", self.parallel != ParallelSettings(), "leave it out: zero.stage says what processes share"),
            ("recompute", self.recompute == "selective", "set recompute=full or none"),
            ("attention", self.attention == "varlen", "choose auto, flash, flex, sdpa or reference"),
        ):
            if wrong:
                value = "..." if key == "parallel" else getattr(self, key)
                raise ValueError(f"{key}={value} is for backend=megatron, and backend is {self.backend}; {instead}")
        return self

    def steps_per_epoch(self, packs: int, tokens: int, sequence_length: int) -> int:
        """Optimizer steps of one pass over ``packs`` packs that hold ``tokens`` real tokens."""
        if self.global_batch_tokens is None:
            return -(-packs // self.global_batch_packs)
        # a stretch as long as a pack holds the beginning of one, so no step is empty
        return min(packs, max(1, min(-(-tokens // self.global_batch_tokens), tokens // sequence_length)))


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
