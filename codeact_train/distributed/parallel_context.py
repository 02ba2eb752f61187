"""Process groups, device and seeds of one job; the same calls on CPU over gloo and on GPUs over NCCL.

Contract: :func:`start` is called once in each process torchrun starts, or in a single process without torchrun, and
:func:`stop` at its end. What remains of the world size after tensor, context and pipeline parallelism is data
parallelism. Ranks run through the axes in that order: processes of a tensor-parallel group are neighbours.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from megatron.core import parallel_state, tensor_parallel

from codeact_train.config.train import ParallelSettings
from codeact_train.distributed import megatron_cpu

_TIMEOUT = datetime.timedelta(minutes=30)


@dataclass(frozen=True)
class Place:
    """Where this process stands: its rank and size along each axis, and its device."""

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

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0


def start(settings: ParallelSettings, seed: int) -> Place:
    """Join the job and build Megatron's process groups; ``settings.replica`` divides the world size."""
    return arrange(settings, seed, join())


def join() -> torch.device:
    """Meet the other processes; returns the device of this one."""
    # one queue of work a device, so that a gather that was asked for first also starts first (sequence parallelism)
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")
    megatron_cpu.install()
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if megatron_cpu.has_cuda() else "gloo", timeout=_TIMEOUT)
    else:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    if not megatron_cpu.has_cuda():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def arrange(settings: ParallelSettings, seed: int, device: torch.device) -> Place:
    """Build Megatron's process groups among processes that have met, in place of those of another layout."""
    if not _stands(settings):
        parallel_state.destroy_model_parallel()
        parallel_state.initialize_model_parallel(
            tensor_model_parallel_size=settings.tensor,
            pipeline_model_parallel_size=settings.pipeline,
            context_parallel_size=settings.context,
        )
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed)
    return Place(
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
        device=device,
    )


def _stands(settings: ParallelSettings) -> bool:
    """Whether the groups there are are those of this layout."""
    return parallel_state.model_parallel_is_initialized() and (
        parallel_state.get_tensor_model_parallel_world_size(),
        parallel_state.get_pipeline_model_parallel_world_size(),
        parallel_state.get_context_parallel_world_size(),
    ) == (settings.tensor, settings.pipeline, settings.context)


def stop() -> None:
    """Leave the job."""
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is up in any process; all of them get the same answer."""
    answer = torch.tensor([int(flag)], device=device)
    dist.all_reduce(answer, op=dist.ReduceOp.MAX)
    return bool(answer.item())


def over_data(values: list[float]) -> list[float]:
    """Sums over data-parallel processes, in float64: for what each of them counts on the sequences of its own."""
    return _summed(values, [parallel_state.get_data_parallel_group()])


def over_parts(values: list[float]) -> list[float]:
    """Sums over all parts of a batch, in float64: for what only the last stage has, of its part of each sequence."""
    groups = [parallel_state.get_data_parallel_group(with_context_parallel=True)]
    if parallel_state.get_pipeline_model_parallel_world_size() > 1:
        groups.append(parallel_state.get_pipeline_model_parallel_group())
    return _summed(values, groups)


def _summed(values: list[float], groups: list[dist.ProcessGroup]) -> list[float]:
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = torch.tensor(values, dtype=torch.float64, device=device)
    for group in groups:
        dist.all_reduce(total, group=group)
    return total.tolist()
