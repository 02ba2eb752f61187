"""Configuration of the trainer: every setting, its meaning and its limits.

Contract: frozen models, unknown keys are errors, one class a component. :mod:`codeact_train.plan` checks settings
against a model or a corpus, because that needs files. Nothing here imports torch, so launchers import it at no cost.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator

from codeact_train.config.base import Settings, UserPath

NewTokens: TypeAlias = Literal["mean", "last_row"]


class OptimizerSettings(Settings):
    """AdamW with linear warm-up, then cosine decay to ``min_lr`` at the last step."""

    RENAMED: ClassVar[dict[str, str]] = {"clip": "clip_grad"}

    lr: float = Field(2e-4, gt=0.0)
    """Peak learning rate."""
    min_lr: float = Field(2e-5, ge=0.0)
    """Learning rate of the last step."""
    warmup_steps: int = Field(0, ge=0)
    """Steps of linear warm-up; must be fewer than the run has."""
    weight_decay: float = Field(0.01, ge=0.0)
    """Decoupled weight decay; not applied to norms and biases."""
    beta1: float = Field(0.9, ge=0.0, lt=1.0)
    """Decay of the first moment."""
    beta2: float = Field(0.95, ge=0.0, lt=1.0)
    """Decay of the second moment."""
    eps: float = Field(1e-8, gt=0.0)
    """Term in Adam's denominator."""
    clip_grad: float = Field(1.0, ge=0.0)
    """Largest global gradient norm; 0 disables clipping."""

    @model_validator(mode="after")
    def _falls(self) -> OptimizerSettings:
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr={self.min_lr:g} is above lr={self.lr:g}; lower min_lr or raise lr")
        return self


class ParallelSettings(Settings):
    """How processes share the model. Data parallelism is the world size divided by the product of the axes."""

    tensor: int = Field(1, ge=1)
    """Processes that share each matrix; must divide attention heads and MLP width, and divide the key-value heads or be
    a multiple of them."""
    sequence_parallel: bool = False
    """Also share norms and residuals along the sequence; needs ``tensor`` > 1."""
    pipeline: int = Field(1, ge=1)
    """Pipeline stages, each in separate processes; must divide the number of layers."""
    context: int = Field(1, ge=1)
    """Processes that share each sequence, one stretch of slots each; every process sees all keys."""
    distributed_optimizer: bool = False
    """Shard the optimizer state over data- and context-parallel processes (ZeRO-1)."""
    overlap: bool = False
    """Reduce gradients during the backward pass and, with ``distributed_optimizer``, gather weights during the forward
    pass."""

    @property
    def replica(self) -> int:
        """Processes that hold one copy of the model."""
        return self.tensor * self.pipeline * self.context

    @property
    def slot_multiple(self) -> int:
        """The number of slots in a micro-batch must be a multiple of this to be cut evenly."""
        return self.context * (self.tensor if self.sequence_parallel else 1)

    @model_validator(mode="after")
    def _sequence_needs_tensor(self) -> ParallelSettings:
        if self.sequence_parallel and self.tensor == 1:
            raise ValueError(
                "sequence_parallel=true needs tensor > 1; set tensor to 2 or more, or sequence_parallel=false"
            )
        return self


class ZeroSettings(Settings):
    """What DeepSpeed shards over processes, and what it offloads to the host."""

    stage: Literal[1, 2, 3] = 2
    """Sharded are optimizer state (1), also gradients (2), also weights (3)."""
    offload: Literal["none", "optimizer", "all"] = "none"
    """What is kept in the host's memory: the optimizer state, which is updated there; with ``all`` also weights (stage
    3)."""

    @model_validator(mode="after")
    def _weights_are_shared(self) -> ZeroSettings:
        if self.offload == "all" and self.stage != 3:
            raise ValueError(f"offload=all needs stage=3, not {self.stage}; set stage=3 or offload=optimizer")
        return self


class CheckpointSettings(Settings):
    """When checkpoints are written, and which of them stay."""

    every_steps: int | None = Field(None, ge=1)
    """Save every so many steps, besides the save at the end of each epoch; ``null`` for epochs only."""
    asynchronous: bool = True
    """Continue training while a checkpoint is written; the host's memory holds a copy of the state until then."""
    keep: int = Field(1, ge=1)
    """Number of newest checkpoints to keep on disk; exports are never removed."""
    keep_every_steps: int | None = Field(None, ge=1)
    """Never remove checkpoints whose step is a multiple of this."""
    keep_best: bool = False
    """Keep the checkpoint with the lowest validation loss."""


class GuardSettings(Settings):
    """What to do about a step whose loss or gradient is not finite, or spikes."""

    RENAMED: ClassVar[dict[str, str]] = {"capsules": "dumps"}

    spike: float | None = Field(10.0, gt=1.0)
    """A loss or gradient norm above this many times the median of the last 32 steps is a spike: its batch is dumped,
    and training continues. ``null`` disables the check."""
    dumps: int = Field(8, ge=1)
    """Number of spikes to dump; later ones are in the metrics only."""
    skip_limit: int = Field(0, ge=0)
    """Number of steps that are not finite a run may skip; the next one ends the job with exit code 4."""
    skip_steps: tuple[int, ...] = ()
    """Steps to skip, with their batches."""


class ProfileSettings(Settings):
    """A window of steps under torch's profiler."""

    first_step: int = Field(ge=1)
    """First step to record; a run's first few steps are not typical."""
    steps: int = Field(2, ge=1)
    """Number of steps to record."""


class TrainConfig(Settings):
    """One training job."""

    RENAMED: ClassVar[dict[str, str]] = {"proofs": "startup_checks"}

    epochs: int = Field(1, ge=1)
    """Passes over the corpus; each ends with validation, a checkpoint and a Hugging Face export."""
    global_batch_packs: int = Field(8, ge=1)
    """Packs of one optimizer step, over all processes; the last step of an epoch may have fewer. A pack is a sequence
    of ``prepare.sequence_length`` tokens that holds whole documents."""
    global_batch_tokens: int | None = Field(None, ge=1)
    """Real tokens of one optimizer step, instead of a number of packs: an epoch is cut, between packs, into equal steps
    of at most about this many tokens, and at least one pack."""
    micro_batch_packs: int = Field(1, ge=1)
    """Packs computed at once by one process, concatenated in one sequence."""
    micro_batch_tokens: int | None = Field(None, ge=1)
    """Slots computed at once by one process, instead of a number of packs: the documents of the step's packs are
    repacked into sequences of at most this many slots. A longer document gets its own sequence. The result is the
    same."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """Optimizer and schedule."""
    backend: Literal["megatron", "deepspeed"] = "megatron"
    """Library that distributes the model: Megatron-Core, for the families listed in ``codeact_train.model.spec``, or
    DeepSpeed, for any causal language model of transformers."""
    parallel: ParallelSettings = ParallelSettings()
    """Parallel layout, with Megatron-Core."""
    zero: ZeroSettings = ZeroSettings()
    """Sharding, with DeepSpeed; each process computes other micro-batches."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """Checkpoints."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Type of weights and activations; with bf16 the main weights and gradients are fp32."""
    new_tokens: NewTokens = "mean"
    """Initial rows of embedding and head for tokens added by ``prepare.add_tokens``: the mean of the rows of all tokens
    the model knows, or, as in the paper's code, a copy of the last of them."""
    export_precision: Literal["fp32", "bf16"] | None = None
    """Type of exported weights; ``null`` for the training precision. A wider type adds no digits."""
    attention: Literal["auto", "flash", "varlen", "flex", "sdpa", "reference"] = "auto"
    """Kernel of the packed attention; ``auto`` takes the first of these that is available and reports it."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations that the backward pass recomputes instead of keeping: none; the cheap ones (norms and the product
    within the MLP); all of each layer, from its input."""
    z_loss: float = Field(0.0, ge=0.0)
    """Weight of the squared log of the softmax's denominator; it is in the gradient but not in the reported loss."""
    seed: int = 0
    """Seed of the order of packs."""
    startup_checks: tuple[Literal["leak", "window", "parity", "audit", "prompt", "partition"], ...] = (
        "leak", "window", "parity", "audit", "prompt", "partition",
    )  # fmt: skip
    """Checks to run before the first step (``codeact_train.startup_checks``)."""
    threads: int | None = Field(None, ge=1)
    """Threads of torch in each process; ``null`` for torch's default."""
    validate_every_steps: int | None = Field(None, ge=1)
    """Validate before the first step and every so many steps, besides the end of each epoch; ``null`` for epochs
    only."""
    stop_after_steps: int | None = Field(None, ge=1)
    """Save and stop this job once the run has taken this many steps; the schedule does not change."""
    guard: GuardSettings = GuardSettings()
    """Handling of steps that went wrong."""
    profile: ProfileSettings | None = None
    """Steps to profile; ``null`` for none."""
    peak_tflops: float | None = Field(None, gt=0.0)
    """Peak of one processor, for the MFU in the metrics; ``null`` for the known peak of the GPU, if there is one."""
    tensorboard: bool = True
    """Write TensorBoard event files beside ``metrics.jsonl``."""
    wandb: str | None = None
    """Weights & Biases project to send curves to."""
    mlflow: str | None = None
    """MLflow experiment to send curves to."""

    @model_validator(mode="after")
    def _export_has_the_digits(self) -> TrainConfig:
        if self.export_precision == "fp32" and self.precision == "bf16":
            raise ValueError(
                "export_precision=fp32 with precision=bf16: the weights have only bf16 digits; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _backend_can(self) -> TrainConfig:
        if self.backend == "megatron":
            return self
        for key, wrong, instead in (
            ("parallel", self.parallel != ParallelSettings(), "leave it out: zero.stage sets what processes share"),
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
        # every stretch of one pack's length contains the start of a pack, so no step is empty
        return min(packs, max(1, min(-(-tokens // self.global_batch_tokens), tokens // sequence_length)))


class TrainJob(Settings):
    """A resolved job, which the trainer reads as JSON."""

    model: UserPath
    """Hugging Face folder of the base model."""
    corpus: UserPath
    """Folder of the prepared corpus."""
    out: UserPath
    """Folder for metrics, checkpoints and exports; a job resumes from the checkpoints it finds there."""
    train: TrainConfig = TrainConfig()
    """Training settings."""
