"""Estimate of one parallel layout of a job on a cluster: memory, step time, rates, run time.

Contract: everything here is predicted, by the models of ``memory`` and ``step_time``. Tokens are computed positions
(padding excluded), over all GPUs. MFU = tokens/s x ``ModelCost.model_flops`` / (GPUs x peak): six operations per matrix
weight, the head included, plus attention over the visible keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from codeact_train.plan.hardware import Cluster
from codeact_train.plan.kernels import TRAINER
from codeact_train.plan.layout import ParallelLayout, parallel_layouts
from codeact_train.plan.memory import Memory, memory
from codeact_train.plan.model_cost import ModelCost
from codeact_train.plan.step_time import StepTime, step_time
from codeact_train.plan.workload import Workload


@dataclass(frozen=True)
class Estimate:
    """The predicted figures of a layout."""

    layout: ParallelLayout
    memory: Memory
    time: StepTime
    tokens_per_s: float
    mfu: float
    epoch_s: float | None
    """Seconds of an epoch's steps, without validation, checkpoint and export; ``None`` while the number of steps is
    unknown."""


def estimate(model: ModelCost, cluster: Cluster, work: Workload, layout: ParallelLayout) -> Estimate:
    """Estimate one layout of the trainer."""
    micro_batches = work.micro_batches(layout.data)
    needed = memory(
        model,
        layout,
        TRAINER,
        cluster,
        tokens=work.largest_micro,
        trained=work.largest_micro * work.trained_share,
        in_flight=micro_batches,
    )
    time = step_time(
        model,
        layout,
        TRAINER,
        cluster,
        tokens=work.micro_tokens,
        context=work.context,
        trained=work.micro_tokens * work.trained_share,
        micro_batches=micro_batches,
    )
    rate = work.step_tokens / time.total
    mfu = rate * model.model_flops(work.context) / (layout.gpus * cluster.gpu.peak_tflops * 1e12)
    epoch = None if work.steps_per_epoch is None else work.steps_per_epoch * time.total
    return Estimate(layout, needed, time, rate, mfu, epoch)


def rank(model: ModelCost, cluster: Cluster, work: Workload) -> list[Estimate]:
    """Every layout of the cluster: those that fit, fastest first, then the others."""
    every = [
        estimate(model, cluster, work, layout) for layout in parallel_layouts(model, cluster, work.micro_batches(1))
    ]
    return sorted(every, key=lambda e: (not e.memory.fits, -e.tokens_per_s))
