"""The weights and optimizer state of a DeepSpeed model in checkpoint form: whole tensors, under the weights' names.

Contract: any stage, offload and number of processes reads what another wrote, to the bit. Each process writes every
n-th weight, with its moments and, with bf16, its main weight. Cost: training waits while these are gathered, one weight
at a time (12 bytes a parameter in fp32); when loading, each process reads all of it, ``PIECE`` parameters at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from torch import Tensor, nn

from codeact_train.backends.deepspeed import engine
from codeact_train.checkpoint import async_save, optimizer_state
from codeact_train.distributed.parallel_context import ParallelContext

PIECE = 2**27
"""Parameters read at once, unless one weight has more."""


def weights(model: nn.Module, ctx: ParallelContext) -> Iterator[tuple[str, Tensor]]:
    """The weights this process writes. All processes must iterate to the end."""
    for number, (name, parameter) in enumerate(model.named_parameters()):
        with engine.gathered(parameter):
            if number % ctx.world == ctx.rank:
                yield name, parameter.detach()


def sharded_state_dict(model: nn.Module, ctx: ParallelContext) -> dict[str, Any]:
    """State dict for ``async_save.write``: copies in the host's memory. All processes must call it."""
    entries = {name: _entry(name, tensor.to("cpu", copy=True)) for name, tensor in weights(model, ctx)}
    for name, parameter in model.named_parameters():
        for kind in _state_names(parameter):
            tensor = engine.get_state(parameter, kind)
            if name in entries:
                key = _key(name, kind)
                entries |= {key: _entry(key, tensor.to("cpu", copy=True))}
    return entries


def read(model: nn.Module, folder: Path, ctx: ParallelContext) -> dict[str, Any]:
    """Load a model, its main weights and moments; returns the rest of the folder. Every process calls it."""
    rest: dict[str, Any] = {}
    for piece in _pieces(model):
        wanted = {
            key: _entry(key, torch.empty(engine.shape(parameter), dtype=dtype), replica=ctx.rank)
            for name, parameter in piece.items()
            for key, dtype in _keys(name, parameter).items()
        }
        rest = async_save.read({"weights": wanted}, folder)
        loaded = rest.pop("weights")
        for name, parameter in piece.items():
            with torch.no_grad(), engine.gathered(parameter, change=True):
                parameter.copy_(loaded[name])
            for kind in ("param", *optimizer_state.MOMENTS):
                engine.set_state(parameter, kind, loaded.get(_key(name, kind), loaded[name]))
    return rest


def _state_names(parameter: nn.Parameter) -> tuple[str, ...]:
    return optimizer_state.state_names(bf16=parameter.dtype == torch.bfloat16)


def _key(name: str, kind: str) -> str:
    return f"{optimizer_state.PREFIX}.{kind}.{name}"


def _keys(name: str, parameter: nn.Parameter) -> dict[str, torch.dtype]:
    """The keys a parameter is saved under, with their types."""
    return {name: parameter.dtype, **{_key(name, kind): torch.float32 for kind in _state_names(parameter)}}


def _entry(key: str, tensor: Tensor, replica: int = 0) -> ShardedTensor:
    return ShardedTensor.from_rank_offsets(key, tensor, replica_id=replica)


def _pieces(model: nn.Module) -> Iterator[dict[str, nn.Parameter]]:
    piece: dict[str, nn.Parameter] = {}
    size = 0
    for name, parameter in model.named_parameters():
        own = engine.shape(parameter).numel()
        if piece and size + own > PIECE:
            yield piece
            piece, size = {}, 0
        piece[name] = parameter
        size += own
    yield piece
