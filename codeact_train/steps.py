"""A run's state as it begins, and one global batch through it.

Contract: :func:`global_loss` is the mean loss over the trained tokens of the global batch, the same number in every
process, whatever the layout; unless told otherwise it leaves that loss's gradient in the model's buffers, reduced over
processes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from codeact_train import hf
from codeact_train.batches import MicroBatch, StepBatch
from codeact_train.checkpoint import RunState
from codeact_train.config import TrainJob
from codeact_train.loss import normalised
from codeact_train.model import build
from codeact_train.optimizer import build_optimizer, build_schedule
from codeact_train.parallel import Place
from codeact_train.shape import ModelShape


def build_state(job: TrainJob, shape: ModelShape, place: Place, steps: int) -> RunState:
    """The model with the weights of ``job.model``, its optimizer, and the schedule of a run of ``steps``."""
    train = job.train
    bare = build(shape, train, place.device)
    hf.load(bare, shape, job.model)
    bare.config.finalize_model_grads_func = _finalize
    settings = DistributedDataParallelConfig(
        grad_reduce_in_fp32=True, use_distributed_optimizer=train.parallel.distributed_optimizer
    )
    model = DistributedDataParallel(bare.config, settings, bare)
    optimizer = build_optimizer(model, train)
    return RunState(model, optimizer, build_schedule(optimizer, train, steps))


def global_loss(
    model: DistributedDataParallel, batch: StepBatch, micro: Iterator[MicroBatch], *, slots: int, forward_only: bool
) -> float:
    """Loss of ``batch`` from its micro-batches as ``micro`` yields them, at most ``slots`` slots each."""
    parts = get_forward_backward_func()(
        forward_step_func=functools.partial(_forward_step, total_weight=batch.total_weight),
        data_iterator=micro,
        model=model,
        num_microbatches=len(batch.micro_batches),
        seq_length=slots,
        micro_batch_size=1,
        forward_only=forward_only,
    )
    return data_parallel_sum([sum(part.item() for part in parts)])[0]


def data_parallel_sum(values: list[float]) -> list[float]:
    """Sums over data-parallel processes, in float64."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total, group=parallel_state.get_data_parallel_group())
    return total.tolist()


def _forward_step(micro: Iterator[MicroBatch], model: Any, total_weight: float) -> tuple[Tensor, Any]:
    """Megatron's forward step: the output, and how to make the loss of it."""
    batch = next(micro).to(next(model.parameters()).device)

    def loss(losses_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        part = normalised(losses_N, batch.weights, total_weight)
        return part, torch.tensor(len(batch.trained), dtype=torch.int), part.detach()

    return model(batch), loss


def _finalize(models: list[Any], total_tokens: Tensor | None = None, **groups: Any) -> None:
    """Reduce gradients over processes. The loss is divided by the global batch's weight already, which every process
    knows from the plan, so the count Megatron offers is withheld and gradients are not divided again."""
    finalize_model_grads(models, None, **groups)
