"""Kernel of ``torch.nn.attention.varlen``, over all documents at once: FlashAttention 2 as shipped with torch.

Contract: as :mod:`~codeact_train.model.attention.backends`; needs CUDA with capability 8.0, bf16 and torch 2.11. Cost:
as flash-attn.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
from torch import Tensor

from codeact_train.distributed.cuda import has_cuda
from codeact_train.model.attention.layout import PackedLayout


def unavailable(precision: str, head_dim: int) -> str | None:
    """Why it cannot run here, or ``None``."""
    if not has_cuda():
        return "there is no CUDA device here"
    if precision == "fp32":
        return "it computes in bf16, not fp32"
    if torch.cuda.get_device_capability() < (8, 0):
        return "the device is too old: the kernel needs capability 8.0"
    if head_dim % 8 or head_dim > 256:
        return f"its heads have a width that 8 divides and at most 256, not {head_dim}"
    if "window_size" not in _parameters():
        return f"its window needs torch 2.11 or later, not {torch.__version__}"
    return None


def attend(q_SHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Causal attention within documents, [S, H, D]; the last query of a span is aligned with its last key."""
    from torch.nn.attention.varlen import varlen_attn

    query, key = layout.cu_seqlens
    longest_query, longest_key = layout.max_seqlens
    options: dict[str, Any] = {"scale": scale, "window_size": layout.window_size}
    if "enable_gqa" in _parameters():  # from 2.12 on; earlier versions accept fewer keys without it
        options["enable_gqa"] = q_SHD.shape[1] != k_TGD.shape[1]
    out = varlen_attn(q_SHD, k_TGD.contiguous(), v_TGD.contiguous(), query, key, longest_query, longest_key, **options)
    assert isinstance(out, Tensor)
    return out


@cache
def _parameters() -> frozenset[str]:
    """Names of the parameters of this torch's ``varlen_attn``; they change between releases."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)
