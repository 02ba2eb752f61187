"""The numbers of a Hugging Face config that decide a model.

Contract: one frozen value a folder; reading costs a small JSON file and loads neither torch models nor Megatron.
Families without a mapping are refused here, by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True)
class ModelShape:
    """The numbers of a Hugging Face config that decide the model."""

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
    window: int | None
    hf: PretrainedConfig

    @classmethod
    def read(cls, folder: Path | str) -> ModelShape:
        """Read ``config.json``. Raises ``ValueError`` for an architecture without a mapping."""
        hf = AutoConfig.from_pretrained(folder)
        kind = hf.model_type
        if kind not in ARCHITECTURES:
            raise ValueError(
                f"model={folder}: no mapping for model_type {kind!r}; one of {', '.join(ARCHITECTURES)} is needed"
            )
        window = getattr(hf, "sliding_window", None)
        if kind.startswith("qwen") and not getattr(hf, "use_sliding_window", False):
            window = None
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
            qkv_bias=kind == "qwen2" or bool(getattr(hf, "attention_bias", False)),
            qk_norm=kind == "qwen3",
            window=window,
            hf=hf,
        )

    def padded_vocab(self, tensor: int) -> int:
        """Vocabulary rows when each of ``tensor`` processes holds the same number."""
        return -(-self.vocab // tensor) * tensor
