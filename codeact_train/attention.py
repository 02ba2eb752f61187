"""Attention over packed documents: each sees itself and its past, nothing of its neighbours.

Contract: :class:`PackedAttention` stands in Megatron's layer as the core attention; it turns q and k by their positions
within their document, then attends document by document. No S × S mask is built. Cost on CPU: one fused kernel a
document. Kernels are chosen once by :func:`choose`; a named one that is absent is an error, never silently another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

BACKENDS = ("sdpa",)
"""Kernels in order of preference."""


def choose(name: str) -> str:
    """The kernel to use. Raises ``ValueError`` for one this installation lacks."""
    if name == "auto":
        return BACKENDS[0]
    if name not in BACKENDS:
        raise ValueError(f"attention={name}: not here; choose one of {', '.join(BACKENDS)} or auto")
    return name


@dataclass(frozen=True)
class PackedLayout:
    """What the layers need to know of a sequence of S slots.

    ``bounds``: where documents begin, and S. ``cos``, ``sin``: [S, 1, 1, head_dim] in the type of the activations.
    Megatron hands it through as ``packed_seq_params``; ``qkv_format`` tells it to leave [S, B, H, D] as it is.
    """

    bounds: tuple[int, ...]
    cos: Tensor
    sin: Tensor
    qkv_format: str = "sbhd"


class PackedAttention(nn.Module):
    """Rotary embedding and causal attention within documents; grouped queries without copying keys."""

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: Any,
        attention_type: str,
        softmax_scale: float | None = None,
        **_: Any,
    ):
        super().__init__()
        assert attention_type == "self"
        assert config.kv_channels is not None
        self.scale = softmax_scale or 1.0 / math.sqrt(config.kv_channels)
        self.window = config.window_size[0] + 1 if config.window_size else None

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
        layout = packed_seq_params
        q_HSD = rotate(q_SBHD, layout)[:, 0].transpose(0, 1)
        k_GSD = rotate(k_SBGD, layout)[:, 0].transpose(0, 1)
        v_GSD = v_SBGD[:, 0].transpose(0, 1)
        pieces = [
            self._attend(q_HSD[:, a:b], k_GSD[:, a:b], v_GSD[:, a:b])
            for a, b in zip(layout.bounds[:-1], layout.bounds[1:], strict=True)
        ]
        out_SHD = torch.cat([piece.transpose(0, 1) for piece in pieces])
        return out_SHD.reshape(out_SHD.shape[0], 1, -1)

    def _attend(self, q_HLD: Tensor, k_GLD: Tensor, v_GLD: Tensor) -> Tensor:
        length = q_HLD.shape[1]
        mask_LL = None
        if self.window is not None and length > self.window:
            mask_LL = torch.ones(length, length, dtype=torch.bool, device=q_HLD.device)
            mask_LL = mask_LL.tril().triu(1 - self.window)
        return F.scaled_dot_product_attention(
            q_HLD[None],
            k_GLD[None],
            v_GLD[None],
            attn_mask=mask_LL,
            is_causal=mask_LL is None,
            scale=self.scale,
            enable_gqa=q_HLD.shape[0] != k_GLD.shape[0],
        )[0]


def rotate(x_SBHD: Tensor, layout: PackedLayout) -> Tensor:
    """Rotary position embedding in the half-split layout of Hugging Face's Llama."""
    low, high = x_SBHD.chunk(2, dim=-1)
    return x_SBHD * layout.cos + torch.cat((-high, low), dim=-1) * layout.sin
