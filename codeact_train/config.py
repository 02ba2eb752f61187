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


class SourceSettings(Settings):
    """One file of the mixture, and how much of it an epoch holds."""

    path: str | None = None
    """JSON Lines file of records, packed (``.gz``) or not; ``null`` for those that ``select`` wrote in this run."""
    name: str | None = None
    """Name in the ledger for records that name no source themselves; by default the file's name."""
    repeat: float = Field(1.0, gt=0.0)
    """How often an epoch holds each record: 2.5 takes all twice and half of them a third time, 0.2 takes a fifth. Which
    half or fifth is chosen by a hash of seed and id. Held-out records are never repeated."""
    share: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of the mixture's tokens this file shall have, in place of ``repeat``. Files without a share say how large
    the mixture is; if all have one, it is as large as it can be with nothing repeated."""

    @model_validator(mode="after")
    def _one_amount(self) -> SourceSettings:
        if self.share is not None and self.repeat != 1.0:
            raise ValueError(f"repeat={self.repeat:g} beside share={self.share:g}; give one of them")
        return self


class EvaluationPrompts(Settings):
    """Prompts that no training record may contain."""

    path: str
    """JSON Lines file, packed (``.gz``) or not, one evaluation task a line."""
    field: str = "prompt"
    """Key of the prompt in each line."""


class RoleWeights(Settings):
    """Loss weight of each role's text and end tokens; a turn's own ``weight`` multiplies it."""

    system: float = Field(0.0, ge=0.0)
    """Instructions."""
    user: float = Field(0.0, ge=0.0)
    """Tasks and observations."""
    assistant: float = Field(1.0, ge=0.0)
    """Actions and answers."""


class PrepareConfig(Settings):
    """How records become a corpus."""

    sources: tuple[SourceSettings, ...] = Field((SourceSettings(),), min_length=1)
    """The files of the mixture; by default what this run has selected."""
    sequence_length: int = Field(1024, ge=8)
    """Slots of a pack. A document of n tokens fills n - 1 slots: its last token is only ever a target."""
    over_long: Literal["error", "drop", "split", "truncate"] = "error"
    """What happens to a document longer than a pack: stop and name it, leave it out, cut it into several at the start
    of a turn, or keep its beginning. Nothing is ever cut in silence: the ledger counts every case."""
    chat_template: str = "own"
    """``own`` for the template of the model folder, ``chatml``, or a Jinja file."""
    add_tokens: tuple[str, ...] = ()
    """Control tokens the tokenizer gets if it lacks them, such as ``<|im_start|>`` and ``<|im_end|>``."""
    role_weights: RoleWeights = RoleWeights()
    """What is trained."""
    deduplicate: Literal["off", "exact", "near"] = "exact"
    """Of records with the same conversation the first stays; ``near`` also counts those as the same of which four
    fifths agree (Jaccard similarity of runs of five tokens, roles user and assistant)."""
    decontaminate: tuple[EvaluationPrompts, ...] = ()
    """Evaluation sets to check against: records that contain one of their prompts are left out."""
    decontaminate_words: int = Field(13, ge=8)
    """How many words in a row of a prompt are enough; a shorter prompt counts as a whole, from 8 words on."""
    validation_share: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the records held out for the validation loss, chosen by a hash of the record's id."""
    seed: int = 0
    """Seed of the choice of held-out records, and of those a ``repeat`` or ``share`` takes."""
    parity: Literal["off", "paper"] = "off"
    """``paper`` lays out and weighs tokens as the CodeAct paper's own training code did, defects included: next-fit
    packs, loss mask one token late, every pack weighing the same (``codeact_train.prepare.paper``)."""
    workers: int | None = Field(None, ge=1)
    """Processes that tokenise; ``null`` for one per 32 MB of records, up to one per core. The corpus does not depend
    on it."""

    @model_validator(mode="after")
    def _shares_leave_room(self) -> PrepareConfig:
        shares = [source.share for source in self.sources if source.share is not None]
        total, all_shared = sum(shares), len(shares) == len(self.sources)
        if all_shared and abs(total - 1) > 1e-6:
            raise ValueError(f"sources: every file has a share and they add up to {total:g}; make that 1")
        if not all_shared and total >= 1:
            raise ValueError(f"sources: shares add up to {total:g} and leave nothing for the other files; lower them")
        return self


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
    keep: int = Field(1, ge=1)
    """How many checkpoints stay on disk; exports are never removed."""


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
    """What lays the model over processes: Megatron-Core, for the families ``codeact_train.shape`` lists, or DeepSpeed,
    for any causal language model of transformers."""
    parallel: ParallelSettings = ParallelSettings()
    """Layout over processes, with Megatron-Core."""
    zero: ZeroSettings = ZeroSettings()
    """What processes share, with DeepSpeed; each computes micro-batches of its own."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """Saving and pruning."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Type of weights and activations; with bf16 the main weights and gradients are fp32."""
    attention: Literal["auto", "flash", "varlen", "flex", "sdpa", "reference"] = "auto"
    """Kernel of the packed attention; ``auto`` takes the first of these that is present and says which."""
    recompute: Literal["none", "selective", "full"] = "none"
    """What the backward pass computes again instead of keeping: nothing; what is cheap, norms and the product within
    the MLP; all of each layer from its input on."""
    z_loss: float = Field(0.0, ge=0.0)
    """Weight of the squared log of the softmax's denominator, added to the gradient and not to the reported loss."""
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
