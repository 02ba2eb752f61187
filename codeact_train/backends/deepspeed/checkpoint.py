"""What a checkpoint holds of a model on DeepSpeed: whole tensors under the weights' names, in the form Megatron's have.

Contract: any stage, offload and number of processes reads what another wrote, to the bit. Each process writes every
n-th weight, with its moments and, with bf16, its main weight. Cost: training waits while these are gathered, a weight
at a time (12 bytes a parameter in fp32); reading, each process reads all of it, ``PIECE`` parameters at a time.
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
from codeact_train.distributed.parallel_context import Place

PIECE = 2**27
"""Parameters read at once, unless one weight has more."""


def weights(model: nn.Module, place: Place) -> Iterator[tuple[str, Tensor]]:
    """The weights this process writes, as they are. All processes must ask for all of them."""
    for number, (name, parameter) in enumerate(model.named_parameters()):
        with engine.whole(parameter):
            if number % place.world == place.rank:
                yield name, parameter.detach()


def tree(model: nn.Module, place: Place) -> dict[str, Any]:
    """For ``sharded.write``: copies in the host's memory. All processes must ask."""
    entries = {name: _entry(name, tensor.to("cpu", copy=True)) for name, tensor in weights(model, place)}
    for name, parameter in model.named_parameters():
        for kind in _kinds(parameter):
            tensor = engine.kept(parameter, kind)
            if name in entries:
                key = _key(name, kind)
                entries |= {key: _entry(key, tensor.to("cpu", copy=True))}
    return entries


def read(model: nn.Module, folder: Path, place: Place) -> dict[str, Any]:
    """Fill a model, its main weights and moments; returns what else there is in the folder. Every process calls it."""
    rest: dict[str, Any] = {}
    for piece in _pieces(model):
        wanted = {
            key: _entry(key, torch.empty(engine.shape(parameter), dtype=dtype), replica=place.rank)
            for name, parameter in piece.items()
            for key, dtype in _forms(name, parameter).items()
        }
        rest = async_save.read({"weights": wanted}, folder)
        loaded = rest.pop("weights")
        for name, parameter in piece.items():
            with torch.no_grad(), engine.whole(parameter, change=True):
                parameter.copy_(loaded[name])
            for kind in ("param", *optimizer_state.MOMENTS):
                engine.keep(parameter, kind, loaded.get(_key(name, kind), loaded[name]))
    return rest


def _kinds(parameter: nn.Parameter) -> tuple[str, ...]:
    return optimizer_state.kinds(bf16=parameter.dtype == torch.bfloat16)


def _key(name: str, kind: str) -> str:
    return f"{optimizer_state.PREFIX}.{kind}.{name}"


def _forms(name: str, parameter: nn.Parameter) -> dict[str, torch.dtype]:
    """The keys a parameter is saved under, with their types."""
    return {name: parameter.dtype, **{_key(name, kind): torch.float32 for kind in _kinds(parameter)}}


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
