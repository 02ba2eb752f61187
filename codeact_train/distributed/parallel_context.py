"""Process groups, device and seeds of one job; the same calls work on CPU over gloo and on GPUs over NCCL.

Contract: each process that torchrun starts calls :func:`initialize` once, and :func:`destroy` at its end; so does a
single process without torchrun. Data parallelism is the world size divided by tensor, context and pipeline
parallelism. Ranks run through the axes in that order: processes of a tensor-parallel group are neighbours.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from megatron.core import parallel_state, tensor_parallel
from torch import Tensor

from codeact_train.config.train import ParallelSettings
from codeact_train.distributed import megatron_cpu
from codeact_train.distributed.cuda import has_cuda

_TIMEOUT = datetime.timedelta(minutes=30)


@dataclass(frozen=True)
class World:
    """All processes of the job. ``cpu_group``: a gloo group of them, for questions that must not wait for a GPU."""

    device: torch.device
    cpu_group: dist.ProcessGroup


@dataclass(frozen=True)
class ParallelContext:
    """Rank and size of this process along each axis of parallelism, its device, and the job's ``cpu_group``."""

    rank: int
    world: int
    tensor_rank: int
    tensor: int
    context_rank: int
    context: int
    pipeline_rank: int
    pipeline: int
    data_rank: int
    data: int
    device: torch.device
    cpu_group: dist.ProcessGroup

    @property
    def is_main(self) -> bool:
        """Whether this process writes logs, metrics and metadata."""
        return self.rank == 0


def initialize(settings: ParallelSettings, seed: int) -> ParallelContext:
    """Join the job and build Megatron's process groups; the world size must be a multiple of ``settings.replica``."""
    return init_model_parallel(settings, seed, init_process_group())


def init_process_group() -> World:
    """Join the other processes of the job and choose this one's device."""
    # one hardware queue a device: a collective that is issued first also starts first (sequence parallelism needs it)
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")
    megatron_cpu.install()
    device = torch.device("cpu")
    if has_cuda():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    # gloo has no coalesced collectives for CUDA tensors, so that a job of one process needs NCCL too
    backend = "nccl" if has_cuda() else "gloo"
    if "RANK" in os.environ:
        dist.init_process_group(backend, timeout=_TIMEOUT)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    return World(device, dist.new_group(backend="gloo", timeout=_TIMEOUT))


def init_model_parallel(settings: ParallelSettings, seed: int, world: World) -> ParallelContext:
    """Build Megatron's process groups for this layout; replaces the groups of an earlier layout."""
    if not _is_initialized_as(settings):
        parallel_state.destroy_model_parallel()
        parallel_state.initialize_model_parallel(
            tensor_model_parallel_size=settings.tensor,
            pipeline_model_parallel_size=settings.pipeline,
            context_parallel_size=settings.context,
        )
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed)
    return ParallelContext(
        rank=dist.get_rank(),
        world=dist.get_world_size(),
        tensor_rank=parallel_state.get_tensor_model_parallel_rank(),
        tensor=settings.tensor,
        context_rank=parallel_state.get_context_parallel_rank(),
        context=settings.context,
        pipeline_rank=parallel_state.get_pipeline_model_parallel_rank(),
        pipeline=settings.pipeline,
        data_rank=parallel_state.get_data_parallel_rank(),
        data=parallel_state.get_data_parallel_world_size(),
        device=world.device,
        cpu_group=world.cpu_group,
    )


def _is_initialized_as(settings: ParallelSettings) -> bool:
    """Whether Megatron's groups exist and have this layout."""
    return parallel_state.model_parallel_is_initialized() and (
        parallel_state.get_tensor_model_parallel_world_size(),
        parallel_state.get_pipeline_model_parallel_world_size(),
        parallel_state.get_context_parallel_world_size(),
    ) == (settings.tensor, settings.pipeline, settings.context)


def destroy() -> None:
    """Leave the job."""
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()


def any_rank(flag: bool, cpu_group: dist.ProcessGroup | None) -> bool:
    """Whether ``flag`` is true in any process of a gloo group; the same answer in all of them. No GPU waits for it."""
    answer = torch.tensor([int(flag)])
    dist.all_reduce(answer, op=dist.ReduceOp.MAX, group=cpu_group)
    return bool(answer.item())


def sum_over_data_parallel(values: Tensor) -> Tensor:
    """Sum ``values`` in place over data-parallel processes, each of which counted its own sequences.

    A CPU tensor is summed over gloo, so that no GPU waits for it.
    """
    on_cpu = values.device.type == "cpu"
    group = parallel_state.get_data_parallel_group_gloo() if on_cpu else parallel_state.get_data_parallel_group()
    dist.all_reduce(values, group=group)
    return values


def sum_over_batch_parts(values: Tensor) -> Tensor:
    """Sum ``values`` in place over all parts of a global batch: over data- and context-parallel processes, and over
    pipeline stages, of which only the last has values other than 0."""
    dist.all_reduce(values, group=parallel_state.get_data_parallel_group(with_context_parallel=True))
    if parallel_state.get_pipeline_model_parallel_world_size() > 1:
        dist.all_reduce(values, group=parallel_state.get_pipeline_model_parallel_group())
    return values
