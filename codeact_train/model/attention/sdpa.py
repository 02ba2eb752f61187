"""torch's ``scaled_dot_product_attention``, document by document.

Contract: as :mod:`~codeact_train.model.attention.backends`; runs on any device. Cost: one fused kernel per document.
Queries whose window or process excludes the beginning of their document run in blocks, each with the keys it reaches
and a mask of block × reach: at most twice the work of the window, and never an S × S mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from codeact_train.model.attention.layout import PackedLayout

QUERY_BLOCK = 512


def attend(q_SHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Causal attention within documents, [S, H, D]."""
    q_HSD, k_GTD, v_GTD = (x.transpose(0, 1) for x in (q_SHD, k_TGD, v_TGD))
    pieces = [
        piece.transpose(0, 1)
        for (a, b), (c, d) in zip(pairwise(layout.spans.query), pairwise(layout.spans.key), strict=True)
        for piece in _span(q_HSD[:, a:b], k_GTD[:, c:d], v_GTD[:, c:d], layout.window, scale)
    ]
    return torch.cat(pieces)


def _span(q_HLD: Tensor, k_GMD: Tensor, v_GMD: Tensor, window: int | None, scale: float) -> Iterator[Tensor]:
    """Attention of the last L of a document's M slots, in pieces [H, l, D] along L."""
    length, past = q_HLD.shape[1], k_GMD.shape[1] - q_HLD.shape[1]
    plain = 0 if past else min(length, window or length)  # queries that attend to all earlier keys
    if plain:
        yield _kernel(q_HLD[:, :plain], k_GMD[:, :plain], v_GMD[:, :plain], None, scale)
    for start in range(plain, length, QUERY_BLOCK):
        end = min(start + QUERY_BLOCK, length)
        low = max(0, start + past - window + 1) if window else 0
        own = start + past - low  # the first query's own key, counted from `low`
        mask = torch.ones(end - start, end + past - low, dtype=torch.bool, device=q_HLD.device).tril(own)
        if window:
            mask = mask.triu(own - window + 1)
        yield _kernel(q_HLD[:, start:end], k_GMD[:, low : end + past], v_GMD[:, low : end + past], mask, scale)


def _kernel(q_HLD: Tensor, k_GMD: Tensor, v_GMD: Tensor, mask_LM: Tensor | None, scale: float) -> Tensor:
    gqa = q_HLD.shape[0] != k_GMD.shape[0]
    return F.scaled_dot_product_attention(
        q_HLD[None], k_GMD[None], v_GMD[None],
        attn_mask=mask_LM, is_causal=mask_LM is None, scale=scale, enable_gqa=gqa,
    )[0]  # fmt: skip
