"""A causal language model as transformers loads it, made ready to be trained like Megatron's.

Contract: the weights of the folder in the run's precision, on the CPU, without dropout. Cost: each process reads the
whole model into the host's memory while it starts, whatever is shared later.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from codeact_train.config.train import TrainConfig
from codeact_train.model.attention import choose
from codeact_train.model.gpt import DTYPES
from codeact_train.model.spec import read_config

KERNELS = {"flash": "flash_attention_2", "flex": "flex_attention", "sdpa": "sdpa", "reference": "eager"}
"""Attention kernels of transformers, under the names this project has for them."""


def load(folder: Path, train: TrainConfig) -> PreTrainedModel:
    """Read the model. Raises ``ValueError`` when transformers has no causal language model for it, or lacks what the
    kernel that was asked for needs."""
    disable_progress_bar()
    config = read_config(folder)
    _silence(config)
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
    """What to ask transformers for; ``None`` leaves it the choice: SDPA where the family has it."""
    chosen = choose(train.attention, train.precision)
    if train.attention != "auto":
        return KERNELS[chosen]
    family = AutoModelForCausalLM._model_mapping.get(type(config), None)
    return KERNELS["flash"] if chosen == "flash" and getattr(family, "_supports_flash_attn", False) else None


def _silence(config: PretrainedConfig) -> None:
    """Set every rate of dropout and of routing noise to 0, as Megatron's models have it: a loss is then a function of
    weights and data alone."""
    for name, value in vars(config).items():
        if isinstance(value, PretrainedConfig):
            _silence(value)
        elif isinstance(value, int | float) and ("drop" in name or "jitter" in name):
            setattr(config, name, type(value)(0))
