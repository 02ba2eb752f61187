"""Gathers the weights that processes share into whole tensors on the CPU.

Contract: every process calls it. Cost: one whole weight at a time in each process; with ``keep``, the whole model in
the host's memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from codeact_train.backends.deepspeed.engine import gathered


def gather_tensors(model: nn.Module, dtype: torch.dtype, *, keep: bool) -> dict[str, Tensor]:
    """Weights and buffers by name, copied to the CPU as ``dtype`` if ``keep``, else empty. Tied names share one
    tensor."""
    done: dict[int, Tensor] = {}
    tensors = model.state_dict(keep_vars=True)
    for tensor in tensors.values():
        if id(tensor) not in done:
            with gathered(tensor):
                kind = dtype if tensor.is_floating_point() else tensor.dtype
                done[id(tensor)] = tensor.detach().to("cpu", kind, copy=True) if keep else torch.empty(0)
    return {name: done[id(tensor)] for name, tensor in tensors.items()}
