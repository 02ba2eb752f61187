"""Megatron's optimizer and schedule, built from the run's settings.

Contract: AdamW with decoupled weight decay on matrices only; gradients are clipped by their global norm. The learning
rate of step k of K (1-based) is ``lr * k / warmup`` during warm-up, then falls by a cosine to ``min_lr`` at step K. The
optimizer's state is allocated before the first step. Cost: one pass over weights, gradients and two moments a step, in
torch's fused kernel.
"""

from __future__ import annotations

import math
import types
from typing import Any

import torch
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer, OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

from codeact_train.checkpoint import optimizer_state
from codeact_train.config.train import TrainConfig
from codeact_train.distributed import megatron_cpu


def build_optimizer(model: DistributedDataParallel, train: TrainConfig) -> MegatronOptimizer:
    """AdamW over the model's parameters; keeps fp32 main weights when the weights are bf16."""
    settings = train.optimizer
    config = OptimizerConfig(
        optimizer="adam",
        lr=settings.lr,
        min_lr=settings.min_lr,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.beta1,
        adam_beta2=settings.beta2,
        adam_eps=settings.eps,
        clip_grad=settings.clip_grad,
        bf16=train.precision == "bf16",
        use_distributed_optimizer=train.parallel.distributed_optimizer,
        overlap_param_gather=train.parallel.overlap and train.parallel.distributed_optimizer,
    )
    with megatron_cpu.fake_cuda_types():
        optimizer = get_megatron_optimizer(config, [model])
    # Megatron leaves torch's default kernel, which makes temporaries as large as the model
    for group in optimizer.param_groups:
        group.update(fused=True, foreach=False)
    for part in optimizer.chained_optimizers:
        optimizer_state.allocate(part.optimizer, part.get_parameters())
        if isinstance(part, DistributedOptimizer):
            part.get_parameter_state_dp_zero = types.MethodType(_gather_padded, part)
            part._set_main_param_and_optimizer_states = types.MethodType(_set_stored_state, part)
    return optimizer


def build_schedule(
    optimizer: MegatronOptimizer | torch.optim.Optimizer, train: TrainConfig, total_steps: int
) -> OptimizerParamScheduler:
    """The schedule of a run of ``total_steps``; warm-up must be shorter (``plan.validate`` checks it)."""
    settings = train.optimizer
    return OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=settings.lr,
        min_lr=settings.min_lr,
        lr_warmup_steps=settings.warmup_steps,
        lr_decay_steps=total_steps,
        lr_decay_style="cosine",
        start_wd=settings.weight_decay,
        end_wd=settings.weight_decay,
        wd_incr_steps=total_steps,
        wd_incr_style="constant",
    )


def next_lr(schedule: OptimizerParamScheduler) -> float:
    """Learning rate of the step after those the schedule has counted."""
    schedule.num_steps += 1
    try:
        return float(schedule.get_lr(schedule.optimizer.param_groups[0]))
    finally:
        schedule.num_steps -= 1


def set_lr(optimizer: MegatronOptimizer | torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next update."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def step(optimizer: MegatronOptimizer, lr: float) -> float:
    """Clip and update unless the gradient is not finite; returns its global norm before clipping.

    Calls the parts of Megatron's own ``step``, which would also update with a gradient that is not finite.
    """
    with megatron_cpu.fake_cuda_types():
        optimizer.prepare_grads()
        norm = float(optimizer.get_grad_norm())
        if not math.isfinite(norm):
            return norm
        set_lr(optimizer, lr)
        for part in optimizer.chained_optimizers:
            parameters, most = part.get_parameters(), part.config.clip_grad
            if parameters and most > 0.0:
                clip_grad_by_total_norm_fp32(parameters, max_norm=most, total_norm=norm)
        optimizer.step_with_ready_grads()
    return norm


def _gather_padded(self: DistributedOptimizer, **options: Any) -> dict[Any, Any] | None:
    """Megatron's gathered optimizer state with the padding between buckets restored.

    Megatron concatenates buckets without their padding, then cuts them at offsets that include it: in a model of
    several buckets, every weight after a padded one would be saved shifted.
    """
    state = DistributedOptimizer.get_parameter_state_dp_zero(self, **options)
    if state is None:
        return None
    for index, buffer in enumerate(self.buffers):
        for tensors in state[index].values():
            for name in ("param", "exp_avg", "exp_avg_sq"):
                sizes = [bucket.numel_unpadded for bucket in buffer.buckets]
                padded = torch.zeros(buffer.numel, dtype=tensors[name].dtype)
                for bucket, part in zip(buffer.buckets, tensors[name].split(sizes), strict=True):
                    padded[bucket.offset : bucket.offset + len(part)] = part
                tensors[name] = padded
    return state


def _set_stored_state(self: DistributedOptimizer, parameter: torch.nn.Parameter, tensors: dict[str, Any]) -> None:
    """Set the tensors a checkpoint has of a parameter's state and keep the rest.

    Megatron's own method needs all of them: also the step count, which torch's AdamW has and Apex's does not, and the
    main weight, which without bf16 is the weight itself.
    """
    own = self._get_main_param_and_optimizer_states(parameter)
    type(self)._set_main_param_and_optimizer_states(self, parameter, {**own, **tensors})
