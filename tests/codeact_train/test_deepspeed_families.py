"""Any family of transformers computes packed documents as it computes them alone, in the form that is chosen for it."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    JambaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    MptConfig,
    OPTConfig,
)

from codeact_train.backends.deepspeed.forward import Forward
from codeact_train.data.collate import MicroBatch, collate
from codeact_train.data.document import Document

VOCAB = 97
TOKENS: dict[str, Any] = {"vocab_size": VOCAB, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WIDTHS: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, **TOKENS}
LLAMA: dict[str, Any] = {"intermediate_size": 48, "num_key_value_heads": 2, **WIDTHS}

KEPT_APART = {
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **TOKENS),
    "gpt_neox": GPTNeoXConfig(intermediate_size=48, **WIDTHS),
    "gemma2-soft-cap": Gemma2Config(**LLAMA, head_dim=8, sliding_window=5),
    "granite-scaled-logits": GraniteConfig(**LLAMA, logits_scaling=4.0),
    "mistral-window": MistralConfig(**LLAMA, sliding_window=5),
    "mixtral-experts": MixtralConfig(**LLAMA, num_local_experts=4),
}
A_ROW_EACH = {
    "bloom-alibi": BloomConfig(hidden_size=32, n_layer=2, n_head=4, **TOKENS),
    "falcon": FalconConfig(**WIDTHS),
    "jamba-hybrid": JambaConfig(
        **LLAMA, attn_layer_period=2, attn_layer_offset=1, num_experts=2, use_mamba_kernels=False
    ),
    "mamba-recurrent": MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=4, **TOKENS),
    "mpt-alibi": MptConfig(d_model=32, n_layers=2, n_heads=4, max_seq_len=64, **TOKENS),
    "opt-counted-positions": OPTConfig(ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=64, **WIDTHS),
}


def documents() -> list[Document]:
    """Three of different lengths, about half of each trained."""
    rng = np.random.default_rng(0)
    lengths = (23, 9, 16)
    return [
        Document(
            rng.integers(3, VOCAB, n).astype(np.int32),
            np.zeros(n, np.uint8),
            rng.integers(0, 2, n).astype(np.float32),
            (),
        )
        for n in lengths
    ]


def alone(model: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
    """Logits of the trained slots, from a plain call for each document."""
    parts = []
    for start, end in zip(batch.bounds[:-1], batch.bounds[1:], strict=True):
        inside = (batch.trained >= start) & (batch.trained < end)
        parts.append(model(batch.tokens[:, start:end]).logits[0, batch.trained[inside] - start])
    return torch.cat(parts)


@pytest.mark.parametrize("family", [*KEPT_APART, *A_ROW_EACH])
def test_documents_are_computed_as_if_alone(family: str) -> None:
    torch.manual_seed(0)
    config = (KEPT_APART | A_ROW_EACH)[family]
    config.initializer_range = 0.2  # random weights that say something
    model = AutoModelForCausalLM.from_config(config).eval()
    forward = Forward(model, model)
    rows = not forward.keeps_apart(VOCAB, torch.device("cpu"))
    assert rows == (family in A_ROW_EACH)
    batch = collate(documents(), rows=rows)
    with torch.no_grad():
        torch.testing.assert_close(forward.trained_logits(batch, rows=rows), alone(model, batch), rtol=1e-4, atol=1e-5)
