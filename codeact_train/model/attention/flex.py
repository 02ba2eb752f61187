"""FlexAttention with a block mask built from document bounds.

Contract: as :mod:`~codeact_train.model.attention.backends`; compiled, so it needs CUDA (torch has no backward pass for
it on a CPU). Cost: a compilation of some seconds in the first step. Blocks of 128 × 128 without a visible key are
skipped; they are computed from the bounds, not from an S × T mask.
"""

from __future__ import annotations

import weakref
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from codeact_train.distributed.cuda import has_cuda
from codeact_train.model.attention.layout import PackedLayout

BLOCK = 128
_masks: weakref.WeakKeyDictionary[PackedLayout, BlockMask] = weakref.WeakKeyDictionary()


def unavailable(precision: str, head_dim: int) -> str | None:
    """Why it cannot run here, or ``None``."""
    if not has_cuda():
        return "there is no CUDA device here"
    return f"its heads have a width of at least 16, not {head_dim}" if head_dim < 16 else None


def attend(q_SHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Causal attention within documents, [S, H, D]."""
    if layout not in _masks:
        _masks[layout] = block_mask(layout)
    return attend_with(_compiled(), q_SHD, k_TGD, v_TGD, _masks[layout], scale)


def attend_with(kernel: Any, q_SHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, mask: BlockMask, scale: float) -> Tensor:
    """The same with ``kernel``, FlexAttention compiled or not."""
    q_BHSD, k_BGTD, v_BGTD = (x.transpose(0, 1)[None] for x in (q_SHD, k_TGD, v_TGD))
    gqa = q_SHD.shape[1] != k_TGD.shape[1]
    return kernel(q_BHSD, k_BGTD, v_BGTD, block_mask=mask, scale=scale, enable_gqa=gqa)[0].transpose(0, 1)


def block_mask(layout: PackedLayout) -> BlockMask:
    """The blocks of keys each block of queries needs: from the first key of its first query to the key of its last
    query."""
    spans, device = layout.spans, layout.cos.device
    slots, keys = spans.query[-1], spans.key[-1]
    visible = spans.first_visible(layout.window)  # non-decreasing, so a block's first query reaches farthest back
    starts = np.arange(0, slots, BLOCK)
    first = visible[starts] // BLOCK
    last = (np.minimum(starts + BLOCK, slots) - 1 + spans.shift) // BLOCK
    columns = -(-keys // BLOCK)
    indices = np.minimum(first[:, None] + np.arange(columns), columns - 1)  # entries past the count are not read
    count_11R, indices_11RC = (
        torch.from_numpy(x.astype(np.int32)).to(device)[None, None] for x in (last - first + 1, indices)
    )
    # both are tensors: a Python number would be compiled in, and it changes with every context-parallel sequence
    first_visible_S, shift = torch.from_numpy(visible).to(device), torch.tensor(spans.shift, device=device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key >= first_visible_S[query]) & (key <= query + shift)

    return BlockMask.from_kv_blocks(
        count_11R, indices_11RC, BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(slots, keys)
    )  # fmt: skip


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=True)  # lengths differ between sequences
