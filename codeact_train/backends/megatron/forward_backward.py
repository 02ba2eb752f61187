"""The model at the start of a run, and one global batch through it.

Contract: :func:`global_loss` returns the mean loss over the trained tokens of the global batch, the same number in
every process and every layout, with counts by role. Unless ``forward_only``, it leaves the gradient of that loss in the
model's buffers, reduced over processes. Cost: Megatron's schedule (1F1B between pipeline stages) and one sum of a few
floats. Losses and counts of micro-batches stay on the device and are read once.
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
from codeact_train.config.train import TrainConfig
from codeact_train.data.collate import MicroBatch, StepBatch
from codeact_train.distributed.parallel_context import ParallelContext, sum_over_batch_parts
from codeact_train.hf.embedding_init import ResizedEmbeddings
from codeact_train.model.gpt import build
from codeact_train.model.loss import normalised
from codeact_train.model.source import ModelSource
from codeact_train.observability.loss_stats import COUNTS, LossStats, count


def build_model(source: ModelSource, train: TrainConfig, ctx: ParallelContext) -> DistributedDataParallel:
    """The model with the weights of ``source``, in Megatron's data-parallel wrapper."""
    assert source.spec is not None
    layout, spec = train.parallel, source.resized_spec
    bare = build(spec, train, ctx.device)
    with hf.SafeTensors(source.folder) as tensors:
        tensors.check(hf.tensor_shapes(source.spec))
        hf.load(bare, spec, ResizedEmbeddings(tensors, source.vocabulary, train.new_tokens))
    bare.config.finalize_model_grads_func = _finalize
    settings = DistributedDataParallelConfig(
        grad_reduce_in_fp32=True,
        use_distributed_optimizer=layout.distributed_optimizer,
        overlap_grad_reduce=layout.overlap,
        overlap_param_gather=layout.overlap and layout.distributed_optimizer,
    )
    model = DistributedDataParallel(bare.config, settings, bare)
    bare.config.no_sync_func = model.no_sync
    return model


def finish_param_sync(model: DistributedDataParallel) -> None:
    """Finish any pending parameter all-gather (``overlap_param_gather``)."""
    if model.ddp_config.overlap_param_gather:
        model.start_param_sync(force_sync=True)


def global_loss(model: DistributedDataParallel, batch: StepBatch, *, forward_only: bool) -> LossStats:
    """Loss and counts of a global batch, of which ``batch`` is this process's share."""
    step = functools.partial(_forward_step, total_weight=batch.total_weight)
    parts = _run(model, batch.micro_batches, step, forward_only)
    sums = torch.zeros(1 + COUNTS, dtype=torch.float64, device=next(model.parameters()).device)
    for part, _ in parts:  # in float64, in the order of the micro-batches
        sums[0] += part
    if parts:
        sums[1:] = torch.stack([own for _, own in parts]).sum(0)
    loss, *counts = sum_over_batch_parts(sums).tolist()
    return LossStats(loss, tuple(counts))


def token_losses(model: DistributedDataParallel, whole: MicroBatch) -> Tensor:
    """Loss of each trained token of a sequence, float32 [N] on the CPU in every process; no gradients."""

    def step(micro: Iterator[MicroBatch], model: Any) -> tuple[Tensor, Any]:
        batch = _own_part(next(micro), model)

        def by_slot(results_2N: Tensor) -> tuple[Tensor, Tensor]:
            losses_N = results_2N[0]
            losses_S = torch.zeros(whole.slots, device=losses_N.device)
            # a placeholder slot of a part without trained slots has weight 0
            losses_S[batch.trained + batch.first] = losses_N * (batch.weights > 0)
            return losses_N.sum(), losses_S

        return model(batch), by_slot

    with torch.no_grad():
        parts = _run(model, [whole], step, forward_only=True)
    losses_S = sum(parts, torch.zeros(whole.slots, device=next(model.parameters()).device))
    for group in (parallel_state.get_context_parallel_group(), parallel_state.get_pipeline_model_parallel_group()):
        dist.all_reduce(losses_S, group=group)
    return losses_S[whole.trained].cpu()


def _run(model: DistributedDataParallel, batches: list[MicroBatch], step: Any, forward_only: bool) -> list[Any]:
    """Megatron's schedule; returns what ``step``'s loss functions reported, on the last stage."""
    return get_forward_backward_func()(
        forward_step_func=step,
        data_iterator=iter(batches),
        model=model,
        num_microbatches=len(batches),
        seq_length=batches[0].slots,
        micro_batch_size=1,
        forward_only=forward_only,
    )


def _own_part(whole: MicroBatch, model: Any) -> MicroBatch:
    """The part of a sequence that this process computes, on its device."""
    rank, parts = parallel_state.get_context_parallel_rank(), parallel_state.get_context_parallel_world_size()
    return whole.part(rank, parts).to(next(model.parameters()).device)


def _forward_step(micro: Iterator[MicroBatch], model: Any, total_weight: float) -> tuple[Tensor, Any]:
    """Megatron's forward step: the output, and the function that computes the loss from it."""
    batch = _own_part(next(micro), model)

    def loss(results_2N: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        part = normalised(results_2N[0], batch.weights, total_weight)
        reported = part.detach(), count(results_2N, batch)
        return part, torch.tensor(len(batch.trained), dtype=torch.int), reported

    return model(batch), loss


def _finalize(models: list[Any], total_tokens: Tensor | None = None, **groups: Any) -> None:
    """Reduce gradients over processes.

    The loss is already divided by the weight of the global batch, which every process knows from the plan, so Megatron
    gets no token count to divide by.
    """
    finalize_model_grads(models, None, **groups)
