"""Process groups, device and seeds of one job; the same calls on CPU over gloo and on GPUs over NCCL.

Contract: :func:`start` is called once in each process torchrun starts, or in a single process without torchrun, and
:func:`stop` at its end. What remains of the world size after tensor parallelism is data parallelism.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from megatron.core import parallel_state, tensor_parallel

from codeact_train import compat
from codeact_train.config import ParallelSettings

_TIMEOUT = datetime.timedelta(minutes=30)


@dataclass(frozen=True)
class Place:
    """Where this process stands: its rank and size along each axis, and its device."""

    rank: int
    world: int
    tensor_rank: int
    tensor: int
    data_rank: int
    data: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0


def start(settings: ParallelSettings, seed: int) -> Place:
    """Join the job and build Megatron's process groups; ``settings.tensor`` divides the world size."""
    compat.install()
    if "RANK" in os.environ:
        dist.init_process_group("nccl" if compat.has_cuda() else "gloo", timeout=_TIMEOUT)
    else:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    world = dist.get_world_size()
    device = torch.device("cpu")
    if compat.has_cuda():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    parallel_state.initialize_model_parallel(tensor_model_parallel_size=settings.tensor)
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed)
    return Place(
        rank=dist.get_rank(),
        world=world,
        tensor_rank=parallel_state.get_tensor_model_parallel_rank(),
        tensor=settings.tensor,
        data_rank=parallel_state.get_data_parallel_rank(),
        data=parallel_state.get_data_parallel_world_size(),
        device=device,
    )


def stop() -> None:
    """Leave the job."""
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is up in any process; all of them get the same answer."""
    answer = torch.tensor([int(flag)], device=device)
    dist.all_reduce(answer, op=dist.ReduceOp.MAX)
    return bool(answer.item())
