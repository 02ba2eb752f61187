"""Loads a causal language model with transformers, ready to be trained like Megatron's.

Contract: the weights of the folder in the run's precision, on the CPU, without dropout. Cost: at the start each process
reads the whole model into the host's memory, even if processes share it later.
"""

from __future__ import annotations

import copy
from pathlib import Path

from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from codeact_train.config.train import TrainConfig
from codeact_train.model.attention import choose_backend
from codeact_train.model.gpt import DTYPES

KERNELS = {"flash": "flash_attention_2", "flex": "flex_attention", "sdpa": "sdpa", "reference": "eager"}
"""Attention kernels of transformers, by this project's names."""


def load(folder: Path, config: PretrainedConfig, train: TrainConfig) -> PreTrainedModel:
    """Load the model of a folder whose configuration is ``config``. Raises ``ValueError`` when transformers has no
    causal language model for it, or when the configured attention kernel cannot be used."""
    disable_progress_bar()
    config = copy.deepcopy(config)
    _disable_noise(config)
    kernel = _kernel(config, train)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=DTYPES[train.precision], attn_implementation=kernel
        )
    except (ValueError, ImportError) as error:
        raise ValueError(f"model={folder}, attention={train.attention}: {error}") from error
    if train.recompute == "full":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def attention_name(model: PreTrainedModel) -> str:
    """The kernel in use, by this project's name for it."""
    used = model.config._attn_implementation
    return next((name for name, known in KERNELS.items() if known == used), used or "none")


def _kernel(config: PretrainedConfig, train: TrainConfig) -> str | None:
    """The kernel to request from transformers; ``None`` means its default: SDPA where the family supports it."""
    chosen = choose_backend(train.attention, train.precision, _head_dim(config))
    if train.attention != "auto":
        return KERNELS[chosen]
    family = AutoModelForCausalLM._model_mapping.get(type(config), None)
    return KERNELS["flash"] if chosen == "flash" and getattr(family, "_supports_flash_attn", False) else None


def _head_dim(config: PretrainedConfig) -> int:
    """Width of a head; a family without attention has none, and any kernel will do."""
    if width := getattr(config, "head_dim", None):
        return int(width)
    heads = getattr(config, "num_attention_heads", None)
    return int(config.hidden_size // heads) if heads else 64


def _disable_noise(config: PretrainedConfig) -> None:
    """Set every rate of dropout and of routing noise to 0, as in Megatron's models: a loss is then a function of
    weights and data alone."""
    for name, value in vars(config).items():
        if isinstance(value, PretrainedConfig):
            _disable_noise(value)
        elif isinstance(value, int | float) and ("drop" in name or "jitter" in name):
            setattr(config, name, type(value)(0))
