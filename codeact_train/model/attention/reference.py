"""Reference attention, computed directly from the formula; the other kernels are tested against it.

Contract: as :mod:`~codeact_train.model.attention.backends`, with scores and softmax in float32 (float64 stays). Cost: a
mask and scores of S × T. Meant for tests and as the last resort.
"""

from __future__ import annotations

import torch
from torch import Tensor

from codeact_train.model.attention.layout import PackedLayout


def attend(q_SHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Causal attention within documents, [S, H, D]."""
    wide = torch.promote_types(q_SHD.dtype, torch.float32)
    group = q_SHD.shape[1] // k_TGD.shape[1]
    k_THD, v_THD = (x.to(wide).repeat_interleave(group, dim=1) for x in (k_TGD, v_TGD))
    scores_HST = torch.einsum("shd,thd->hst", q_SHD.to(wide), k_THD) * scale
    scores_HST = scores_HST.masked_fill(~visible(layout), float("-inf"))
    return torch.einsum("hst,thd->shd", scores_HST.softmax(-1), v_THD).to(q_SHD.dtype)


def visible(layout: PackedLayout) -> Tensor:
    """bool [S, T]: whether a query attends to a key."""
    spans, device = layout.spans, layout.cos.device
    first_S1 = torch.from_numpy(spans.first_visible(layout.window)).to(device)[:, None]
    key_T = torch.arange(spans.key[-1], device=device)
    own_S1 = torch.arange(spans.query[-1], device=device)[:, None] + spans.shift
    return (key_T >= first_S1) & (key_T <= own_S1)
