"""Kernel of the package flash-attn 2, over all documents at once.

Contract: as :mod:`~codeact_train.model.attention.backends`; needs CUDA with capability 8.0 and bf16. Cost: one launch
per layer, linear memory; keys outside document and window are not computed.
"""

from __future__ import annotations

import importlib.util
from functools import cache

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
    return _package_unavailable()


@cache
def _package_unavailable() -> str | None:
    """Whether the package loads: it is compiled for one release of torch and fails to load with another."""
    if importlib.util.find_spec("flash_attn") is None:
        return "the package flash-attn is not installed"
    try:
        from flash_attn import flash_attn_varlen_func  # noqa: F401
    except Exception as error:  # a build for another torch fails in several ways
        return f"the package flash-attn does not load ({error})"
    return None


def attend(q_SHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Causal attention within documents, [S, H, D]; the last query of a span is aligned with its last key."""
    from flash_attn import flash_attn_varlen_func

    query, key = layout.cu_seqlens
    longest_query, longest_key = layout.max_seqlens
    return flash_attn_varlen_func(
        q_SHD, k_TGD, v_TGD,
        cu_seqlens_q=query, cu_seqlens_k=key, max_seqlen_q=longest_query, max_seqlen_k=longest_key,
        softmax_scale=scale, causal=True, window_size=layout.window_size,
    )  # fmt: skip
