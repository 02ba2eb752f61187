"""Megatron's optimizers in the form checkpoints have: main weight and moments of each weight, under the weight's key.

Contract: a :func:`tree` is the same whatever shares the optimizer between processes, so any layout loads what another
wrote, to the bit. A main weight is part of it where it is not the weight itself, which is with bf16. There is one count
of steps, because every weight takes every step. Cost: to save, a shared optimizer is gathered, bucket by bucket, into
the host's memory of the first process that shares it; to load, each of them holds all of it for as long as that takes.
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
ONE_HOLDER = {"distrib_optim_fully_reshardable_mem_efficient": True}
"""Megatron's word for gathering a shared optimizer in one process, over gloo, and not in all that share it."""


def kinds(*, bf16: bool) -> tuple[str, ...]:
    """What is kept of a weight beside itself."""
    return ("param", *MOMENTS) if bf16 else MOMENTS


def allocate(inner: Optimizer, parameters: Iterable[Tensor]) -> None:
    """Give parameters the state that torch's AdamW would give them at its first step."""
    for parameter in parameters:
        inner.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            **{name: torch.zeros_like(parameter) for name in MOMENTS},
        }


def steps_taken(inner: Optimizer) -> float:
    """Of every parameter alike; 0 without any."""
    return next((float(own["step"]) for own in inner.state.values()), 0.0)


def set_steps(inner: Optimizer, steps: float) -> None:
    """Set every parameter's count, each in the tensor of its own that torch's fused AdamW advances."""
    for own in inner.state.values():
        own["step"].fill_(steps)


def tree(optimizer: MegatronOptimizer, model: dict[str, Any], *, loading: bool) -> dict[str, Any]:
    """For ``sharded``; ``model`` is the model's tree. ``loading`` gathers nothing."""
    weights = {
        number: _shared(part, model, loading=loading) if isinstance(part, DistributedOptimizer) else _own(part, model)
        for number, part in enumerate(optimizer.chained_optimizers)
    }
    return {"weights": weights, "steps": max(steps_taken(part.optimizer) for part in optimizer.chained_optimizers)}


def take(optimizer: MegatronOptimizer, loaded: dict[str, Any]) -> None:
    """Take over a tree that was loaded, once the model has its weights."""
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
    with megatron_cpu.cpu_tensors_pass():
        weights = part.sharded_param_state_fully_reshardable(model, is_loading=loading, metadata=ONE_HOLDER)
    if weights is None:  # the first of those that share it has it all
        return {}
    kept = kinds(bf16=part.config.bf16)
    return {order: {name: tensors[name] for name in kept} for order, tensors in weights.items()}


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
    """Each weight of the model that an optimizer has to itself, with what is kept of it."""
    kept = kinds(bf16=part.config.bf16)
    for weight, main in _weights(part):
        own = {"param": main, **part.optimizer.state[main]}
        yield weight, {name: own[name].detach() for name in kept}


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
