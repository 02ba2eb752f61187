"""Models and tokenizers made on the spot."""

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from codeact_train.data.toy_tokenizer import make_toy_tokenizer
from codeact_train.parity import toy_models
from codeact_train.parity.toy_models import WORDS, save_model

SHAPE: dict[str, Any] = {name: size for name, size in toy_models.SHAPE.items() if name != "head_dim"} | {
    "num_hidden_layers": 2
}
"""Grouped queries, and a vocabulary that no test layout divides."""


def training_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the models with :data:`SHAPE`: 301 tokens, ChatML."""
    text = [" ".join(WORDS) + " system user assistant Observation: <execute> </execute> <solution>"] * 5
    tokenizer = make_toy_tokenizer(text, SHAPE["vocab_size"])
    assert len(tokenizer) == SHAPE["vocab_size"]
    return tokenizer


def llama(folder: Path, tokenizer: PreTrainedTokenizerFast, *, tied: bool) -> Path:
    """A randomly initialised Llama with grouped queries, saved as a Hugging Face folder."""
    return save_model(folder, tokenizer, LlamaConfig(**SHAPE, tie_word_embeddings=tied))


def serving_llama(folder: Path, *, seed: int, tied: bool) -> Path:
    """A random Llama that every server loads: 2 layers, 4 heads of 32, 2 key-value heads."""
    text = ["system user assistant <execute>print(1)</execute> <solution>42</solution>\n"] * 8
    tokenizer = make_toy_tokenizer(text, 320, bos_token="<|im_start|>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=tied,
        initializer_range=0.15,  # wide enough that the order of rows, the tie and the weights all show in the logits
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
