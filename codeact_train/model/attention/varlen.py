"""The kernel of ``torch.nn.attention.varlen``, over all documents at once: FlashAttention 2 as torch ships it.

Contract: as :mod:`~codeact_train.model.attention.backends`; needs CUDA of capability 8.0, bf16 and torch 2.11. Cost: as
flash-attn's.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import torch
from torch import Tensor

from codeact_train.model.attention.layout import PackedLayout


def lacks(precision: str) -> str | None:
    """What is missing to use it."""
    if not torch.cuda.is_available():
        return "there is no CUDA device here"
    if precision == "fp32":
        return "it computes in bf16, not fp32"
    if torch.cuda.get_device_capability() < (8, 0):
        return "the device is older than its kernel, which needs capability 8.0"
    if "window_size" not in _parameters():
        return f"torch {torch.__version__} has none with a window; 2.11 is the first"
    return None


def attend(q_SHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Causal attention within documents, [S, H, D]; the last query of a span stands at its last key."""
    from torch.nn.attention.varlen import varlen_attn

    query, key = layout.cumulative
    longest_query, longest_key = layout.longest
    options: dict[str, Any] = {"scale": scale, "window_size": layout.reach}
    if "enable_gqa" in _parameters():  # from 2.12 on; before, the kernel takes fewer keys unasked
        options["enable_gqa"] = q_SHD.shape[1] != k_TGD.shape[1]
    out = varlen_attn(q_SHD, k_TGD.contiguous(), v_TGD.contiguous(), query, key, longest_query, longest_key, **options)
    assert isinstance(out, Tensor)
    return out


@cache
def _parameters() -> frozenset[str]:
    """Names of the parameters of this torch's ``varlen_attn``; they changed from release to release."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)
