"""Sharding of a parameter over tensor-parallel processes: :func:`cut` makes one shard, :func:`join` merges all.

Contract: ``join`` of the shards of all ranks restores the tensors bit for bit, for every kind of cut in the table. No
communication happens here. Cost: the shard; only its slices are read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from codeact_train.hf.parameter_map import Weight
from codeact_train.model.spec import ModelSpec


def cut(weight: Weight, tensors: list[Any], spec: ModelSpec, rank: int, size: int) -> Tensor:
    """The shard of process ``rank`` of ``size``, from tensors or lazy slices of a file."""

    def part(tensor: Any, dim: int = 0) -> Tensor:
        length = tensor.get_shape()[dim] // size
        span = slice(rank * length, (rank + 1) * length)
        return tensor[span] if dim == 0 else tensor[:, span]

    if weight.cut == "whole":
        return tensors[0][:]
    if weight.cut == "columns":
        return part(tensors[0], dim=1)
    if weight.cut == "gate_up":
        return torch.cat([part(t) for t in tensors])
    if weight.cut == "qkv" and spec.kv_shared(size):
        return _part_of_group(tensors, spec, rank, size)
    if weight.cut == "qkv":
        groups = spec.kv_heads // size
        parts = [part(t) for t in tensors]
        return torch.cat([p.reshape(groups, -1, *p.shape[1:]) for p in parts], dim=1).flatten(0, 1)
    assert weight.cut == "vocab"
    rows = spec.padded_vocab(size) // size
    first, end = rank * rows, min((rank + 1) * rows, spec.vocab)
    value = tensors[0][first:end] if first < end else tensors[0][0:0]  # safetensors rejects an end slice
    missing = rows - value.shape[0]
    return torch.cat((value, value.new_zeros(missing, *value.shape[1:]))) if missing else value


def _part_of_group(tensors: list[Any], spec: ModelSpec, rank: int, size: int) -> Tensor:
    """The rows of one of several processes that share a key-value head: an even part of its queries, key and value,
    even if that cuts within a head. Megatron gathers the products of these processes."""
    group, member = divmod(rank, size // spec.kv_heads)
    rows = (spec.heads + 2 * spec.kv_heads) * spec.head_dim // size
    begin, before, pieces = member * rows, 0, []
    for tensor in tensors:
        own = tensor.get_shape()[0] // spec.kv_heads
        first, end = max(begin - before, 0), min(begin + rows - before, own)
        if first < end:
            pieces.append(tensor[group * own + first : group * own + end])
        before += own
    return torch.cat(pieces)


def join(weight: Weight, shards: Tensor, spec: ModelSpec) -> list[Tensor]:
    """The Hugging Face tensors of a parameter from all its shards, stacked in rank order; views where possible."""
    if weight.cut == "whole":
        return [shards[0]]
    if weight.cut == "columns":
        return [shards.movedim(0, 1).flatten(1)]
    if weight.cut == "gate_up":
        halves = shards.unflatten(1, (2, -1))
        return [halves[:, i].flatten(0, 1) for i in range(2)]
    whole = shards.flatten(0, 1)
    if weight.cut == "qkv":
        queries = spec.heads // spec.kv_heads
        grouped = whole.view(spec.kv_heads, (queries + 2) * spec.head_dim, *whole.shape[1:])
        sizes = [queries * spec.head_dim, spec.head_dim, spec.head_dim]
        return [p.flatten(0, 1) for p in grouped.split(sizes, dim=1)]
    assert weight.cut == "vocab"
    return [whole[: spec.vocab]]
