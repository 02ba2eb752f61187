"""Gathering: from a Megatron model to Hugging Face tensors, one at a time.

Contract: rank 0 gets every tensor whole, on the CPU, in the order of ``hf.tensor_shapes``. Collective: all processes
must exhaust :func:`gather`. Cost: one parameter in memory at a time, sent to the first pipeline stage and there to the
first of its tensor-parallel processes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from torch import Tensor

from codeact_train.hf.parameter_map import Weight, weight_map
from codeact_train.hf.shards import join
from codeact_train.model.gpt import PackedGPT
from codeact_train.model.spec import ModelSpec


def gather(model: PackedGPT, spec: ModelSpec) -> Iterator[tuple[str, Tensor]]:
    """Yield every Hugging Face tensor on rank 0; the other ranks yield nothing."""
    for weight, shard in _gather_pipeline(model, spec):
        shards = shard[None] if weight.cut == "whole" else _gather_tensor_parallel(shard)
        if dist.get_rank() == 0:
            yield from zip(weight.hf, join(weight, shards.cpu(), spec), strict=True)


def _gather_tensor_parallel(shard: Tensor) -> Tensor:
    """The shards of a parameter from all tensor-parallel processes, stacked on the first of them; the others send
    theirs."""
    group = parallel_state.get_tensor_model_parallel_group()
    mine, first = group.rank(), dist.get_global_rank(group, 0)
    if mine > 0:
        dist.send(shard.contiguous(), first, group=group)
    if mine > 0 or group.size() == 1:
        return shard[None]
    shards = shard.new_empty(group.size(), *shard.shape)
    shards[0] = shard
    for rank in range(1, group.size()):  # one by one: a collective would hold a second copy of all shards
        dist.recv(shards[rank], dist.get_global_rank(group, rank), group=group)
    return shards


def _gather_pipeline(model: PackedGPT, spec: ModelSpec) -> Iterator[tuple[Weight, Tensor]]:
    """Yield each parameter's shard on the processes of the first stage; the other stages send theirs."""
    mine = parallel_state.get_pipeline_model_parallel_rank()
    stages = parallel_state.get_pipeline_model_parallel_world_size()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    if stages == 1:
        yield from ((weight, parameters[weight.megatron]) for weight in weight_map(spec, 0, 1))
        return
    group = parallel_state.get_pipeline_model_parallel_group()
    sizes: list[dict[str, torch.Size]] = [{} for _ in range(stages)]
    dist.all_gather_object(sizes, {name: p.shape for name, p in parameters.items()}, group=group)
    first = dist.get_global_rank(group, 0)
    like = next(iter(parameters.values()))
    for stage in range(stages):
        for weight in weight_map(spec, stage, stages):
            if weight.copy:
                continue
            if mine == stage and mine > 0:
                dist.send(parameters[weight.megatron].contiguous(), first, group=group)
            elif mine == 0:
                shard = parameters[weight.megatron] if stage == 0 else like.new_empty(sizes[stage][weight.megatron])
                if stage > 0:
                    dist.recv(shard, dist.get_global_rank(group, stage), group=group)
                yield weight, shard
