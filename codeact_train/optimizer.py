"""Megatron's optimizer and schedule, built from the run's settings.

Contract: AdamW with decoupled weight decay on matrices only, gradients clipped by their global norm; the learning rate
of step k of K (1-based) is ``lr * k / warmup`` within the warm-up and falls by a cosine to ``min_lr`` at step K after
it. Cost: one pass over weights, gradients and two moments a step, in torch's fused kernel.
"""

from __future__ import annotations

from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer, OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

from codeact_train import compat
from codeact_train.config import TrainConfig


def build_optimizer(model: DistributedDataParallel, train: TrainConfig) -> MegatronOptimizer:
    """AdamW over the model's parameters; with bf16 weights it keeps fp32 main weights."""
    settings = train.optimizer
    config = OptimizerConfig(
        optimizer="adam",
        lr=settings.lr,
        min_lr=settings.min_lr,
        weight_decay=settings.weight_decay,
        adam_beta1=settings.beta1,
        adam_beta2=settings.beta2,
        adam_eps=settings.eps,
        clip_grad=settings.clip,
        bf16=train.precision == "bf16",
        use_distributed_optimizer=train.parallel.distributed_optimizer,
    )
    with compat.cpu_tensors_pass():
        optimizer = get_megatron_optimizer(config, [model])
    for (
        group
    ) in optimizer.param_groups:  # Megatron leaves torch's default, which makes temporaries as large as the model
        group.update(fused=True, foreach=False)
    return optimizer


def build_schedule(optimizer: MegatronOptimizer, train: TrainConfig, total_steps: int) -> OptimizerParamScheduler:
    """The schedule of a run of ``total_steps``, which the warm-up must end before (``plan.validate`` sees to it)."""
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


def step(optimizer: MegatronOptimizer) -> float:
    """Clip and update; returns the global gradient norm before clipping."""
    with compat.cpu_tensors_pass():
        _, norm, _ = optimizer.step()
        return float(optimizer.get_grad_norm() if norm is None else norm)
