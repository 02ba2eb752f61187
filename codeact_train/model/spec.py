"""Model spec: the numbers of a Hugging Face config that determine a model.

Contract: one frozen value per folder. Reading costs a small JSON file and loads neither torch models nor Megatron.
Unsupported families, RoPE scalings and biases raise an error here that names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from codeact_train.model import quantization
from codeact_train.system.failures import read_json_object


@dataclass(frozen=True)
class Family:
    """Properties of a ``model_type`` that its configs do not state."""

    qkv_bias: bool = False
    qk_norm: bool = False


FAMILIES = {
    "llama": Family(),
    "mistral": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen3": Family(qk_norm=True),
}
"""Supported families by ``model_type``; Llama-2 and -3 share one, as do Qwen2 and -2.5. Their weights are mapped in
``codeact_train.hf.parameter_map``."""

ROPE_KINDS = ("default", "linear", "dynamic", "llama3", "yarn")
"""RoPE scalings whose frequencies do not change with the length of a document; ``dynamic`` changes them only beyond the
model's positions, which no document reaches.
"""

INSTEAD = "set train.backend=deepspeed, which trains any causal language model of transformers"


class AttentionDims:
    """Sizes derived from the numbers of heads."""

    heads: int
    kv_heads: int
    head_dim: int

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together; the values have the same width."""
        return self.kv_heads * self.head_dim

    def kv_shared(self, tensor: int) -> bool:
        """Whether there are more tensor-parallel processes than key-value heads, so that several processes share a
        head."""
        return tensor > self.kv_heads

    def kv_width_of(self, tensor: int) -> float:
        """Width of the keys on each of ``tensor`` processes."""
        return max(self.kv_heads / tensor, 1) * self.head_dim

    def fits_heads(self, tensor: int) -> bool:
        """Whether the heads divide evenly over ``tensor`` processes.

        Each process must have the same number of query heads, and each key-value head must belong to one process or be
        shared by a group of processes that shares no other head.
        """
        groups = not self.kv_heads % tensor or not tensor % self.kv_heads
        rows = (self.heads + 2 * self.kv_heads) * self.head_dim
        return groups and not self.heads % tensor and not rows % tensor


@dataclass(frozen=True)
class ModelSpec(AttentionDims):
    """The numbers of a Hugging Face config that determine the model.

    ``windows``: per layer, the maximum number of keys a query attends to, itself included; ``None`` for all.
    """

    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    norm_eps: float
    tied: bool
    qkv_bias: bool
    qk_norm: bool
    windows: tuple[int | None, ...]
    hf: PretrainedConfig

    @classmethod
    def read(cls, folder: Path | str) -> ModelSpec:
        """Read ``config.json``. Raises ``ValueError`` when it is missing or its architecture is not supported."""
        file = Path(folder) / "config.json"
        if not file.is_file():
            raise ValueError(f"model={folder}: no config.json in this folder; give a Hugging Face model folder")
        kind = read_json_object(file, "fetch the model again").get("model_type")
        if kind not in FAMILIES:
            raise ValueError(
                f"model={folder}: no mapping for model_type {kind!r}, only for {', '.join(FAMILIES)}; {INSTEAD}"
            )
        hf = read_config(folder)
        if missing := _without_mapping(hf):
            raise ValueError(f"model={folder}: no mapping for {missing}; {INSTEAD}")
        return cls(
            layers=hf.num_hidden_layers,
            hidden=hf.hidden_size,
            ffn=hf.intermediate_size,
            heads=hf.num_attention_heads,
            kv_heads=hf.num_key_value_heads,
            head_dim=getattr(hf, "head_dim", None) or hf.hidden_size // hf.num_attention_heads,
            vocab=hf.vocab_size,
            norm_eps=hf.rms_norm_eps,
            tied=hf.tie_word_embeddings,
            qkv_bias=FAMILIES[kind].qkv_bias,
            qk_norm=FAMILIES[kind].qk_norm,
            windows=_windows(hf),
            hf=hf,
        )

    @property
    def window(self) -> int | None:
        """The window that all layers share; ``None`` when they differ or have none."""
        return self.windows[0] if len(set(self.windows)) == 1 else None

    def padded_vocab(self, tensor: int) -> int:
        """Vocabulary rows when each of ``tensor`` processes holds the same number: a multiple of 64 per process,
        because odd widths are slow on a GPU. A single process holds the model's rows without padding."""
        multiple = 1 if tensor == 1 else 64 * tensor
        return -(-self.vocab // multiple) * multiple


def read_config(folder: Path | str) -> PretrainedConfig:
    """The configuration of a Hugging Face folder as transformers reads it. Raises ``ValueError`` when transformers
    cannot, or when the weights are quantized. A quantization that full weights no longer have is left out."""
    try:
        config = AutoConfig.from_pretrained(folder)
    except Exception as error:  # the exceptions differ between versions of transformers
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"model={folder}: cannot read its config.json ({reason}); fetch the model again") from error
    quantization.drop_leftover(config, Path(folder))
    return config


def _windows(hf: PretrainedConfig) -> tuple[int | None, ...]:
    """Window of each layer. Qwen lists which layers have the window; in Mistral all have it."""
    size = getattr(hf, "sliding_window", None)
    kinds = getattr(hf, "layer_types", None) or ["sliding_attention"] * hf.num_hidden_layers
    return tuple(size if kind == "sliding_attention" else None for kind in kinds)


def _without_mapping(hf: PretrainedConfig) -> str | None:
    """The first setting that our layers do not support."""
    rope: dict[str, Any] = getattr(hf, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    if kind not in ROPE_KINDS:
        return f"rope_type {kind!r}, only for {', '.join(ROPE_KINDS)}"
    wanted = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    for key, value in wanted.items():
        if getattr(hf, key, value) != value:
            return f"{key}={getattr(hf, key)!r}, only for {value!r}"
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        return f"partial_rotary_factor={rope['partial_rotary_factor']}, only for 1"
    return None
