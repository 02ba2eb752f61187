"""The attention module in Megatron's layers.

Contract: RoPE uses positions that restart in each document. Under context parallelism the keys and values of all
processes are gathered; then the chosen kernel runs. Grouped queries keep their few keys. Cost under context
parallelism: one gather of keys and values per layer, and its reverse in the backward pass. Processes later in a long
document have more keys to attend to, so work is balanced when documents are short compared with the sequence.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

from codeact_train.model.attention.backends import BACKENDS
from codeact_train.model.attention.layout import PackedLayout


class PackedAttention(nn.Module):
    """Rotary embedding and causal attention within documents.

    ``windows``: of all layers of the model. ``keeps_product``: another module (the norms of queries and keys) keeps the
    product that queries, keys and values are views of.
    """

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: Any,
        attention_type: str,
        backend: str,
        windows: tuple[int | None, ...],
        keeps_product: bool,
        softmax_scale: float | None = None,
        **_: Any,
    ):
        super().__init__()
        assert attention_type == "self"
        assert config.kv_channels is not None
        self.scale = softmax_scale or 1.0 / math.sqrt(config.kv_channels)
        self.attend = BACKENDS[backend].attend
        self.windowed = windows[layer_number - 1] is not None  # layers count from 1, over all stages
        self.keeps_product = keeps_product
        self.context_group = parallel_state.get_context_parallel_group() if config.context_parallel_size > 1 else None

    def forward(
        self,
        q_SBHD: Tensor,
        k_SBGD: Tensor,
        v_SBGD: Tensor,
        attention_mask: None = None,
        *,
        packed_seq_params: PackedLayout,
        **_: Any,
    ) -> Tensor:
        """Returns [S, B, H * D]. B is 1: a micro-batch is one sequence."""
        layout = packed_seq_params if self.windowed else packed_seq_params.windowless
        q_SHD, k_SGD, v_SGD = rotate(q_SBHD, layout)[:, 0], rotate(k_SBGD, layout)[:, 0], v_SBGD[:, 0]
        if self.context_group is not None:
            k_SGD, v_SGD = self._gather(k_SGD, v_SGD, layout)
        elif not self.keeps_product:
            v_SGD = v_SGD.contiguous()  # a view would keep the whole product until the backward pass
        out_SHD = self.attend(q_SHD, k_SGD, v_SGD, layout, self.scale)
        return out_SHD.reshape(out_SHD.shape[0], 1, -1)

    def _gather(self, k_SGD: Tensor, v_SGD: Tensor, layout: PackedLayout) -> tuple[Tensor, Tensor]:
        """The T keys and values that this process's queries attend to, gathered from the context-parallel group."""
        own_SGE = torch.cat((k_SGD, v_SGD), dim=-1)
        whole_LGE = tensor_parallel.gather_from_sequence_parallel_region(own_SGE, group=self.context_group)
        first = layout.spans.first_key
        k_TGD, v_TGD = whole_LGE[first : first + layout.spans.key[-1]].chunk(2, dim=-1)
        return k_TGD, v_TGD


def rotate(x_SBHD: Tensor, layout: PackedLayout) -> Tensor:
    """Rotary position embedding in the half-split layout of Hugging Face's Llama."""
    low, high = x_SBHD.chunk(2, dim=-1)
    return x_SBHD * layout.cos + torch.cat((-high, low), dim=-1) * layout.sin
