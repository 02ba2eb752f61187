"""Megatron's optimizers in checkpoint form: main weight and moments of each weight, under the weight's key.

Contract: :func:`sharded_state_dict` does not depend on how processes share the optimizer, so any layout loads what
another wrote, to the bit. It contains main weights where they are separate tensors, which is with bf16. There is one
step count, because every weight takes every step. Cost: saving gathers a shared optimizer, bucket by bucket, into the
host's memory of data-parallel rank 0; loading gives each of the sharing processes the whole state for a moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.dist_checkpointing.optimizer import make_sharded_optimizer_tensor
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.optimizer.optimizer import Float16OptimizerWithFloat16Params
from torch import Tensor
from torch.optim import Optimizer

from codeact_train.distributed import megatron_cpu

MOMENTS = ("exp_avg", "exp_avg_sq")
PREFIX = "optimizer.state"
GATHER_ON_ONE_RANK = {"distrib_optim_fully_reshardable_mem_efficient": True}
"""Makes Megatron gather a shared optimizer in one process, over gloo, instead of in all that share it."""


def state_names(*, bf16: bool) -> tuple[str, ...]:
    """Tensors kept for each weight besides the weight itself."""
    return ("param", *MOMENTS) if bf16 else MOMENTS


def allocate(inner: Optimizer, parameters: Iterable[Tensor]) -> None:
    """Give parameters the state that torch's AdamW would give them at its first step."""
    for parameter in parameters:
        inner.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            **{name: torch.zeros_like(parameter) for name in MOMENTS},
        }


def steps_taken(inner: Optimizer) -> float:
    """Step count, which all parameters share; 0 if there are no parameters."""
    return next((float(own["step"]) for own in inner.state.values()), 0.0)


def set_steps(inner: Optimizer, steps: float) -> None:
    """Set every parameter's step count; torch's fused AdamW advances a separate tensor for each."""
    for own in inner.state.values():
        own["step"].fill_(steps)


def sharded_state_dict(optimizer: MegatronOptimizer, model: dict[str, Any], *, loading: bool) -> dict[str, Any]:
    """The optimizer's part of a checkpoint; ``model`` is the model's sharded state dict. With ``loading`` nothing is
    gathered."""
    weights = {
        number: _shared(part, model, loading=loading) if isinstance(part, DistributedOptimizer) else _own(part, model)
        for number, part in enumerate(optimizer.chained_optimizers)
    }
    return {"weights": weights, "steps": max(steps_taken(part.optimizer) for part in optimizer.chained_optimizers)}


def load_state_dict(optimizer: MegatronOptimizer, loaded: dict[str, Any]) -> None:
    """Load what :func:`sharded_state_dict` saved, once the model has its weights."""
    for number, part in enumerate(optimizer.chained_optimizers):
        weights = loaded["weights"].get(number, {})
        if isinstance(part, DistributedOptimizer):
            part.load_parameter_state_from_fully_reshardable(weights)
        else:
            for order, (_, own) in enumerate(_tensors(part)):
                for name, tensor in own.items():
                    tensor.copy_(weights[order][name])
        set_steps(part.optimizer, loaded["steps"])


def _shared(part: DistributedOptimizer, model: dict[str, Any], *, loading: bool) -> dict[int, Any]:
    with megatron_cpu.fake_cuda_types():
        weights = part.sharded_param_state_fully_reshardable(model, is_loading=loading, metadata=GATHER_ON_ONE_RANK)
    if weights is None:  # only data-parallel rank 0 gets the gathered state
        return {}
    names = state_names(bf16=part.config.bf16)
    return {order: {name: tensors[name] for name in names} for order, tensors in weights.items()}


def _own(part: MegatronOptimizer, model: dict[str, Any]) -> dict[int, Any]:
    entries = {id(e.data): e for e in model.values() if isinstance(e, ShardedTensor | ShardedTensorFactory)}
    return {
        order: {
            name: make_sharded_optimizer_tensor(entries[id(weight)], tensor, f"{PREFIX}.{name}")
            for name, tensor in own.items()
        }
        for order, (weight, own) in enumerate(_tensors(part))
    }


def _tensors(part: MegatronOptimizer) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Each weight of the model whose state is not shared, with that state."""
    names = state_names(bf16=part.config.bf16)
    for weight, main in _weights(part):
        own = {"param": main, **part.optimizer.state[main]}
        yield weight, {name: own[name].detach() for name in names}


def _weights(part: MegatronOptimizer) -> Iterator[tuple[Tensor, Tensor]]:
    """Each weight of the model, and the main weight its optimizer updates."""
    if isinstance(part, Float16OptimizerWithFloat16Params):
        for narrow, main, wide in zip(
            part.float16_groups, part.fp32_from_float16_groups, part.fp32_from_fp32_groups, strict=True
        ):
            yield from zip(narrow, main, strict=True)
            yield from zip(wide, wide, strict=True)
    else:
        yield from ((weight, weight) for weight in part.get_parameters())
