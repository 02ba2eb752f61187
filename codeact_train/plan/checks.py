"""Whether a job can run as configured, answered before anything is started.

Contract: :func:`validate` returns, or raises ``ValueError`` naming key, value and fix. Cost: a model's ``config.json``
and a corpus's manifest. What only the data can tell (a document longer than a pack) ``prepare`` says.
"""

from __future__ import annotations

import json
from pathlib import Path

from codeact_train.config import PrepareConfig, TrainConfig
from codeact_train.shape import ModelShape


def validate(
    train: TrainConfig,
    model: Path,
    *,
    processes: int = 1,
    prepare: PrepareConfig | None = None,
    corpus: Path | None = None,
) -> None:
    """Check a training job against its model, the processes it will have, and its corpus, as far as they are known."""
    shape = ModelShape.read(model)
    _check_layout(train, shape, processes)
    length = prepare.sequence_length if prepare else None
    if corpus is not None:
        manifest = json.loads((corpus / "corpus.json").read_text(encoding="utf-8"))
        length = manifest["sequence_length"]
        _check_steps(train, manifest["packs"]["train"])
    positions = shape.hf.max_position_embeddings
    if length is not None and length > positions:
        raise ValueError(
            f"sequence_length={length} is above the {positions} positions of the model; "
            "lower sequence_length or choose another model"
        )


def _check_layout(train: TrainConfig, shape: ModelShape, processes: int) -> None:
    tensor = train.parallel.tensor
    if processes % tensor:
        raise ValueError(
            f"parallel.tensor={tensor} does not divide the {processes} processes of this job; "
            f"start a multiple of {tensor} or change parallel.tensor"
        )
    for what, number in (
        ("attention heads", shape.heads),
        ("key-value heads", shape.kv_heads),
        ("MLP width", shape.ffn),
    ):
        if number % tensor:
            fitting = [
                t for t in range(1, shape.kv_heads + 1) if not (shape.heads % t or shape.kv_heads % t or shape.ffn % t)
            ]
            raise ValueError(
                f"parallel.tensor={tensor} does not divide the model's {number} {what}; choose one of {fitting}"
            )


def _check_steps(train: TrainConfig, packs: int) -> None:
    steps = -(-packs // train.global_batch_packs) * train.epochs
    if train.optimizer.warmup_steps >= steps:
        raise ValueError(
            f"optimizer.warmup_steps={train.optimizer.warmup_steps} is not below the {steps} steps of this run "
            f"({packs} packs, {train.global_batch_packs} a step, {train.epochs} epochs); "
            "lower warmup_steps, raise epochs or lower global_batch_packs"
        )
