"""FlexAttention with a block mask made of document bounds.

Contract: as :mod:`~codeact_train.model.attention.backends`; compiled, so it needs CUDA (on a CPU torch has no backward
pass for it). Cost: a compilation of some seconds in the first step; blocks of 128 × 128 without a visible key are
skipped, and which those are is counted from the bounds, not from an S × T mask.
"""

from __future__ import annotations

import weakref
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from codeact_train.model.attention.layout import PackedLayout

BLOCK = 128
_masks: weakref.WeakKeyDictionary[PackedLayout, BlockMask] = weakref.WeakKeyDictionary()


def lacks(precision: str) -> str | None:
    """What is missing to use it."""
    return None if torch.cuda.is_available() else "there is no CUDA device here"


def attend(q_SHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Causal attention within documents, [S, H, D]."""
    if layout not in _masks:
        _masks[layout] = block_mask(layout)
    return attend_with(_compiled(), q_SHD, k_TGD, v_TGD, _masks[layout], scale)


def attend_with(kernel: Any, q_SHD: Tensor, k_TGD: Tensor, v_TGD: Tensor, mask: BlockMask, scale: float) -> Tensor:
    """The same by ``kernel``, FlexAttention compiled or not."""
    q_BHSD, k_BGTD, v_BGTD = (x.transpose(0, 1)[None] for x in (q_SHD, k_TGD, v_TGD))
    gqa = q_SHD.shape[1] != k_TGD.shape[1]
    return kernel(q_BHSD, k_BGTD, v_BGTD, block_mask=mask, scale=scale, enable_gqa=gqa)[0].transpose(0, 1)


def block_mask(layout: PackedLayout) -> BlockMask:
    """Which blocks of keys each block of queries needs: those from its first query's first key to its last's own."""
    spans, device = layout.spans, layout.cos.device
    slots, keys = spans.query[-1], spans.key[-1]
    visible = spans.first_visible(layout.window)  # never falls, so a block's first query reaches farthest back
    starts = np.arange(0, slots, BLOCK)
    first = visible[starts] // BLOCK
    last = (np.minimum(starts + BLOCK, slots) - 1 + spans.shift) // BLOCK
    columns = -(-keys // BLOCK)
    indices = np.minimum(first[:, None] + np.arange(columns), columns - 1)  # those past the count are not read
    count_11R, indices_11RC = (
        torch.from_numpy(x.astype(np.int32)).to(device)[None, None] for x in (last - first + 1, indices)
    )
    # both are tensors: a number would be compiled in, and under context parallelism it changes with every sequence
    first_visible_S, shift = torch.from_numpy(visible).to(device), torch.tensor(spans.shift, device=device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key >= first_visible_S[query]) & (key <= query + shift)

    return BlockMask.from_kv_blocks(
        count_11R, indices_11RC, BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(slots, keys)
    )  # fmt: skip


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=True)  # lengths change from sequence to sequence
