"""Two small models and a corpus, made from a seed.

Contract: sizes are awkward where a layout could go wrong (a vocabulary that no layout divides, grouped queries, fewer
key-value heads than processes, documents shorter and longer than the window) and small enough that a step takes
milliseconds. Needs no network.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PretrainedConfig, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.toy_tokenizer import make_toy_tokenizer
from codeact_train.prepare import prepare

SEQUENCE_LENGTH = 256
WORDS = "crate bolt depot ship river stone table price total count print value list tool answer".split()  # noqa: SIM905
VOCABULARY = 301
TOKENIZER_TEXT = [" ".join(WORDS) + " system user assistant Observation: <execute> <solution>"] * 5
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 16, "max_position_embeddings": 512,
    "initializer_range": 0.1, "eos_token_id": 2, "pad_token_id": 0, "bos_token_id": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """A kind of model, and settings for its training."""

    config: PretrainedConfig
    settings: dict[str, Any]


FAMILIES = {
    "llama": Family(LlamaConfig(**SHAPE, tie_word_embeddings=True), {}),
    "mistral": Family(
        MistralConfig(**{**SHAPE, "num_key_value_heads": 2}, sliding_window=24, tie_word_embeddings=False),
        {"z_loss": 1e-3},
    ),
}


def make(folder: Path) -> tuple[dict[str, Path], Path]:
    """Write a model of each family and a shared corpus; returns the models' folders and the corpus."""
    disable_progress_bar()
    tokenizer = make_toy_tokenizer(TOKENIZER_TEXT, VOCABULARY)
    folders = {name: save_model(folder / name, tokenizer, family.config) for name, family in FAMILIES.items()}
    records = _records(folder / "records.jsonl", 24)
    settings = PrepareConfig(sequence_length=SEQUENCE_LENGTH, validation_share=0.2)
    prepare(records, folders["llama"], folder / "corpus", settings)
    return folders, folder / "corpus"


def save_model(folder: Path, tokenizer: PreTrainedTokenizerFast, config: PretrainedConfig) -> Path:
    """Write a model of ``config`` with random weights, the same at every call, and its tokenizer."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms that are all ones could be mistaken for one another
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _records(path: Path, count: int) -> Path:
    """Write conversations of a task, up to three actions with observations, and an answer."""
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            turns = [("system", "act"), ("user", " ".join(rng.choices(WORDS, k=rng.randint(2, 8))))]
            for _ in range(rng.randint(0, 3)):
                turns.append(("assistant", f"<execute>{' '.join(rng.choices(WORDS, k=3))}</execute>"))
                turns.append(("user", f"Observation: {' '.join(rng.choices(WORDS, k=rng.randint(1, 4)))}"))
            turns.append(("assistant", f"<solution>{rng.choice(WORDS)}</solution>"))
            conversation = [{"role": role, "content": content} for role, content in turns]
            file.write(json.dumps({"id": f"r{number}", "conversations": conversation}) + "\n")
    return path
