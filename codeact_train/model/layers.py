"""Modules that replace Megatron's in its transformer layer.

Contract: the same mathematics. Megatron's versions need Apex or Transformer Engine, or keep more activations for the
backward pass than necessary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import tensor_parallel
from megatron.core.tensor_parallel.layers import ColumnParallelLinear, RowParallelLinear
from megatron.core.transformer.mlp import MLP, MLPSubmodules
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root-mean-square norm that works under Megatron's sequence parallelism."""

    def __init__(self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: Any):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        # under sequence parallelism each process has part of the tokens; Megatron sums this gradient over processes
        self.weight.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class GatedMLP(MLP):
    """SwiGLU. With selective recomputation, the product between its two matrices is recomputed instead of kept."""

    def __init__(self, config: TransformerConfig, **_: Any):
        matrices = MLPSubmodules(linear_fc1=ColumnParallelLinear, linear_fc2=RowParallelLinear)
        super().__init__(config, matrices, ffn_hidden_size=config.ffn_hidden_size)
        self.recomputes_product = config.recompute_granularity == "selective"

    def forward(self, hidden_states: Tensor, **_: Any) -> tuple[Tensor, None]:
        """Returns the output and ``None`` for the absent bias, as Megatron expects."""
        gate_up, _ = self.linear_fc1(hidden_states)
        if not (self.recomputes_product and torch.is_grad_enabled()):
            return self.linear_fc2(swiglu(gate_up))
        product = tensor_parallel.CheckpointWithoutOutput()
        output, bias = self.linear_fc2(product.checkpoint(swiglu, gate_up))
        product.discard_output_and_register_recompute(output)
        return output, bias


def swiglu(gate_up: Tensor) -> Tensor:
    """The second half of the last dimension, gated by the first."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


def add_residual(training: bool, fused: bool) -> Any:
    """Megatron's bias-dropout-add without bias and dropout."""
    return lambda x_with_bias, residual, probability: residual + x_with_bias[0]
