"""Checks that a job can run as configured, before anything is started.

Contract: :func:`validate` returns, or raises ``ValueError`` naming key, value and fix. Cost: reading a model's
``config.json`` and a corpus's manifest. Faults in the data, such as a document longer than a pack, are reported by
``prepare``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from codeact_train.config.prepare import PrepareConfig
from codeact_train.config.train import TrainConfig
from codeact_train.data.corpus import AGAIN
from codeact_train.data.tokenizer_identity import check_tokenizer
from codeact_train.data.vocabulary import Vocabulary
from codeact_train.model.source import ModelSource
from codeact_train.model.spec import ModelSpec, read_config
from codeact_train.system.failures import read_json_object


def validate(
    train: TrainConfig,
    model: Path | ModelSource,
    *,
    processes: int = 1,
    prepare: PrepareConfig | None = None,
    corpus: Path | None = None,
) -> None:
    """Check a training job against its model (a folder, or a source that has been read), its number of processes and
    its corpus, as far as they are known."""
    source = model if isinstance(model, ModelSource) else None
    folder = model.folder if isinstance(model, ModelSource) else model
    if train.backend == "deepspeed":
        positions = _check_deepspeed(folder, source)
    else:
        spec = source.spec if source and source.spec else ModelSpec.read(folder)
        _check_layout(train, spec, processes)
        positions = spec.hf.max_position_embeddings
    length = prepare.sequence_length if prepare else None
    held_out = prepare is None or prepare.validation_share > 0
    if corpus is not None:
        manifest = read_json_object(corpus / "corpus.json", AGAIN, "sequence_length", "packs")
        length = manifest["sequence_length"]
        tokens = read_json_object(corpus / "ledger.json", AGAIN, "train")["train"]["filled"]
        check_steps(train, manifest["packs"]["train"], tokens, length)
        if source is None:  # a source has been checked against its corpus
            check_tokenizer(folder, corpus)
            Vocabulary.read(folder, corpus)
        held_out = manifest["packs"]["validation"] > 0
    if train.validate_every_steps and not held_out:
        raise ValueError(
            f"validate_every_steps={train.validate_every_steps}: no record is held out; "
            "set prepare.validation_share, or leave validate_every_steps out"
        )
    if train.checkpoint.keep_best and not held_out:
        raise ValueError(
            "checkpoint.keep_best=true: no record is held out, so checkpoints cannot be compared; "
            "set prepare.validation_share, or leave keep_best out"
        )
    if length is not None and positions is not None and length > positions:
        raise ValueError(
            f"sequence_length={length} is above the {positions} positions of the model; "
            "lower sequence_length or choose another model"
        )


def _check_deepspeed(model: Path, source: ModelSource | None) -> int | None:
    """Number of positions of the model, or ``None`` if its config does not limit them."""
    if importlib.util.find_spec("deepspeed") is None:
        raise ValueError(
            "backend=deepspeed: DeepSpeed is not installed; pip install deepspeed, or set backend=megatron"
        )
    config = source.config if source else read_config(model)
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ValueError(
            f"model={model}: transformers has no causal language model for model_type {config.model_type!r}; "
            "choose another model"
        )
    return getattr(config, "max_position_embeddings", None)


def _check_layout(train: TrainConfig, spec: ModelSpec, processes: int) -> None:
    parallel = train.parallel
    if processes % parallel.replica:
        axes = ("tensor", "pipeline", "context")
        sizes = [f"parallel.{axis}={getattr(parallel, axis)}" for axis in axes if getattr(parallel, axis) > 1]
        product = f" = {parallel.replica}" if len(sizes) > 1 else ""
        raise ValueError(
            f"{' × '.join(sizes)}{product} does not divide the {processes} processes of this job; "
            f"start a multiple of {parallel.replica} or change the layout"
        )
    if not spec.fits_heads(parallel.tensor) or spec.ffn % parallel.tensor:
        fitting = [t for t in range(1, spec.heads + 1) if spec.fits_heads(t) and not spec.ffn % t]
        raise ValueError(
            f"parallel.tensor={parallel.tensor} does not fit the model: it must divide its {spec.heads} attention "
            f"heads and its MLP width of {spec.ffn}, divide or be a multiple of its {spec.kv_heads} key-value heads, "
            f"and divide the {(spec.heads + 2 * spec.kv_heads) * spec.head_dim} rows of queries, keys and values; "
            f"choose one of {fitting}"
        )
    if spec.layers % parallel.pipeline:
        fitting = [p for p in range(1, spec.layers + 1) if not spec.layers % p]
        raise ValueError(
            f"parallel.pipeline={parallel.pipeline} does not divide the model's {spec.layers} layers; "
            f"choose one of {fitting}"
        )


def check_steps(train: TrainConfig, packs: int, tokens: int, sequence_length: int) -> None:
    """Raises ``ValueError`` for a warm-up that is longer than the run."""
    steps = train.steps_per_epoch(packs, tokens, sequence_length) * train.epochs
    if train.optimizer.warmup_steps >= steps:
        raise ValueError(
            f"optimizer.warmup_steps={train.optimizer.warmup_steps} is not below the {steps} steps of this run "
            f"({packs} packs, {tokens} tokens, {train.epochs} epochs); "
            "lower warmup_steps, raise epochs or make global batches smaller"
        )
