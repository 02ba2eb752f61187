"""Miniature of a job: the model's family and proportions at a size that trains in seconds on a laptop.

Contract: :func:`miniature` writes a random model, a tokenizer, a corpus and a job file into one folder. The job has the
layout, precision and settings of the recipe, and two steps. The ratios of heads to key-value heads and of MLP to hidden
size are kept, so sizes that divide the large model divide the small one.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from codeact_train.config.prepare import PrepareConfig
from codeact_train.config.train import TrainConfig
from codeact_train.model.spec import ModelSpec

HEAD_DIM = 8
SEQUENCE = 256
WINDOW = 24


def miniature(spec: ModelSpec, train: TrainConfig, folder: Path) -> Path:
    """Write the miniature and return the path of its job file."""
    from codeact_train.data.corpus import Corpus
    from codeact_train.prepare import prepare

    model = _model(spec, train, folder / "model")
    prepare(_records(folder / "records.jsonl"), model, folder / "corpus", PrepareConfig(sequence_length=SEQUENCE))
    packs = len(Corpus(folder / "corpus").packs("train"))
    job = {
        "model": str(model),
        "corpus": str(folder / "corpus"),
        "out": str(folder / "train"),
        "train": _two_steps(train, packs).model_dump(mode="json"),
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def _two_steps(train: TrainConfig, packs: int) -> TrainConfig:
    """The recipe with its size-dependent settings replaced."""
    small = {
        "epochs": 1,
        "global_batch_packs": -(-packs // 2),
        "global_batch_tokens": None,
        "micro_batch_packs": 1,
        "micro_batch_tokens": None if train.micro_batch_tokens is None else SEQUENCE,
        "optimizer": {**train.optimizer.model_dump(), "warmup_steps": min(1, train.optimizer.warmup_steps)},
        "attention": "auto",
        "threads": 1,
        "validate_every_steps": None,
        "stop_after_steps": None,
        "checkpoint": {**train.checkpoint.model_dump(), "keep_best": False},  # no record is held out
        "profile": None,
        "tensorboard": False,
        "wandb": None,
        "mlflow": None,
    }
    return TrainConfig.model_validate({**train.model_dump(), **small})


def _model(spec: ModelSpec, train: TrainConfig, folder: Path) -> Path:
    """A random model of the same family, with a byte tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    from codeact_train.data.toy_tokenizer import make_toy_tokenizer

    tensor = train.parallel.tensor
    kv_heads = min(spec.kv_heads, tensor) if spec.kv_heads % tensor == 0 else spec.kv_heads
    heads = kv_heads * (spec.heads // spec.kv_heads)
    hidden = heads * HEAD_DIM
    tokenizer = make_toy_tokenizer()
    config = copy.deepcopy(spec.hf)
    small: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": max(1, round(hidden * spec.ffn / spec.hidden / tensor)) * tensor,
        "num_hidden_layers": 2 * train.parallel.pipeline,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": HEAD_DIM,
        "max_position_embeddings": 2 * SEQUENCE,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if any(spec.windows):
        small["sliding_window"] = WINDOW
    if getattr(config, "layer_types", None):
        small["layer_types"] = config.layer_types[-2 * train.parallel.pipeline :]
    config.update(small)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _records(path: Path) -> Path:
    """Eight conversations of different lengths."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(8):
            turns = [{"role": "user", "content": f"What is {number} + 2?"}]
            turns += [{"role": "assistant", "content": f"<execute>\nprint({number} + 2)\n</execute>" + " " * number}]
            file.write(json.dumps({"id": f"r{number}", "conversations": turns}) + "\n")
    return path
