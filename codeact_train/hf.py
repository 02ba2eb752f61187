"""Weights between a Hugging Face folder and a Megatron model, in both directions, at any tensor- and pipeline-parallel
size.

Contract: one table (:func:`weight_map`) says which Hugging Face tensors make up a Megatron parameter, how it is cut and
which stage holds it; loading and exporting both follow it, so what goes in comes out bit for bit. Loading reads only
this process's slices from memory-mapped safetensors; exporting gathers one parameter at a time on the main process.
Conventions: ``linear_qkv`` rows are, for each key-value group, [its queries, its key, its value]; ``linear_fc1`` on
each process is [gate, up]; the vocabulary is padded with zero rows to a multiple of the processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from safetensors import safe_open
from torch import Tensor

from codeact_train.model import PackedGPT
from codeact_train.shape import ModelShape

Cut = Literal["whole", "rows", "columns", "qkv", "gate_up", "vocab"]


@dataclass(frozen=True)
class Weight:
    """One Megatron parameter, the Hugging Face tensors it holds, and how processes share it.

    ``megatron`` is its name within its stage; ``copy`` marks one that another stage has too.
    """

    megatron: str
    hf: tuple[str, ...]
    cut: Cut
    copy: bool = False


def weight_map(shape: ModelShape, stage: int, stages: int) -> list[Weight]:
    """Every parameter of one pipeline stage, in the order of its layers."""
    weights = []
    if stage == 0:
        weights.append(Weight("embedding.word_embeddings.weight", ("model.embed_tokens.weight",), "vocab"))
    own = shape.layers // stages
    for layer in range(own):
        ours, theirs = f"decoder.layers.{layer}.", f"model.layers.{stage * own + layer}."
        qkv = tuple(f"{theirs}self_attn.{x}_proj." for x in "qkv")
        weights += [
            Weight(f"{ours}input_layernorm.weight", (f"{theirs}input_layernorm.weight",), "whole"),
            Weight(f"{ours}self_attention.linear_qkv.weight", tuple(f"{x}weight" for x in qkv), "qkv"),
            Weight(f"{ours}self_attention.linear_proj.weight", (f"{theirs}self_attn.o_proj.weight",), "columns"),
            Weight(f"{ours}pre_mlp_layernorm.weight", (f"{theirs}post_attention_layernorm.weight",), "whole"),
            Weight(
                f"{ours}mlp.linear_fc1.weight", tuple(f"{theirs}mlp.{x}_proj.weight" for x in ("gate", "up")), "gate_up"
            ),
            Weight(f"{ours}mlp.linear_fc2.weight", (f"{theirs}mlp.down_proj.weight",), "columns"),
        ]
        if shape.qkv_bias:
            weights.append(Weight(f"{ours}self_attention.linear_qkv.bias", tuple(f"{x}bias" for x in qkv), "qkv"))
        if shape.qk_norm:
            weights += [
                Weight(f"{ours}self_attention.{x}_layernorm.weight", (f"{theirs}self_attn.{x}_norm.weight",), "whole")
                for x in "qk"
            ]
    if stage == stages - 1:
        weights.append(Weight("decoder.final_layernorm.weight", ("model.norm.weight",), "whole"))
        if not shape.tied:
            weights.append(Weight("output_layer.weight", ("lm_head.weight",), "vocab"))
        elif stages > 1:
            weights.append(Weight("output_layer.weight", ("model.embed_tokens.weight",), "vocab", copy=True))
    return weights


class SafeTensors:
    """Slices of the tensors in a Hugging Face folder, whatever file each is in."""

    def __init__(self, folder: Path | str):
        """Raises ``ValueError`` when the folder has no safetensors."""
        folder = Path(folder)
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            self._files: dict[str, str] = json.loads(index.read_text())["weight_map"]
        elif (folder / "model.safetensors").is_file():
            with safe_open(folder / "model.safetensors", "pt") as file:
                self._files = dict.fromkeys(file.keys(), "model.safetensors")
        else:
            raise ValueError(f"model={folder}: no model.safetensors there; save the model with safetensors first")
        self._folder, self._open, self._stack = folder, {}, ExitStack()  # type: ignore[var-annotated]

    def __enter__(self) -> SafeTensors:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def names(self) -> list[str]:
        """Every tensor of the folder, sorted."""
        return sorted(self._files)

    def __getitem__(self, name: str) -> Any:
        """A lazy slice; index it to read. Raises ``ValueError`` for a missing tensor."""
        if name not in self._files:
            raise ValueError(
                f"model={self._folder}: tensor {name} is missing, so this is not the model its config says"
            )
        file = self._files[name]
        if file not in self._open:
            self._open[file] = self._stack.enter_context(safe_open(self._folder / file, "pt"))
        return self._open[file].get_slice(name)


def load(model: PackedGPT, shape: ModelShape, folder: Path | str) -> None:
    """Fill this process's parameters from ``folder``; other types are converted to the model's.

    Raises ``ValueError`` for a tensor that is missing or has another shape than the config says.
    """
    rank, size = parallel_state.get_tensor_model_parallel_rank(), parallel_state.get_tensor_model_parallel_world_size()
    parameters = dict(model.named_parameters())
    with SafeTensors(folder) as tensors, torch.no_grad():
        for weight in weight_map(shape, *_stage()):
            parameter = parameters.pop(weight.megatron)
            value = _shard(weight, [tensors[name] for name in weight.hf], shape, rank, size)
            if value.shape != parameter.shape:
                raise ValueError(
                    f"model={folder}: {', '.join(weight.hf)} give {tuple(value.shape)}, "
                    f"the config says {tuple(parameter.shape)}"
                )
            parameter.copy_(value)
    assert not parameters, f"parameters no tensor filled: {sorted(parameters)}"


def _shard(weight: Weight, tensors: list[Any], shape: ModelShape, rank: int, size: int) -> Tensor:
    """This process's part of a parameter, read from lazy slices."""

    def part(tensor: Any, dim: int = 0) -> Tensor:
        length = tensor.get_shape()[dim] // size
        place = slice(rank * length, (rank + 1) * length)
        return tensor[place] if dim == 0 else tensor[:, place]

    if weight.cut == "whole":
        return tensors[0][:]
    if weight.cut == "columns":
        return part(tensors[0], dim=1)
    if weight.cut == "gate_up":
        return torch.cat([part(t) for t in tensors])
    if weight.cut == "qkv":
        groups = shape.kv_heads // size
        parts = [part(t) for t in tensors]
        return torch.cat([p.reshape(groups, -1, *p.shape[1:]) for p in parts], dim=1).flatten(0, 1)
    if weight.cut == "vocab":
        rows = shape.padded_vocab(size) // size
        value = tensors[0][min(rank * rows, shape.vocab) : min((rank + 1) * rows, shape.vocab)]
        return torch.cat((value, value.new_zeros(rows - value.shape[0], *value.shape[1:])))
    return part(tensors[0])


def gather(model: PackedGPT, shape: ModelShape) -> Iterator[tuple[str, Tensor]]:
    """Yield every Hugging Face tensor, whole and on the CPU, on the main process; the others yield nothing.

    All processes must run it to its end.
    """
    for weight, shard in _at_first_stage(model, shape):
        shards = [shard]
        if weight.cut != "whole" and parallel_state.get_tensor_model_parallel_world_size() > 1:
            group = parallel_state.get_tensor_model_parallel_group()
            shards = [torch.empty_like(shard) for _ in range(group.size())]
            dist.all_gather(shards, shard.contiguous(), group=group)
        if dist.get_rank() == 0:
            yield from zip(weight.hf, _join(weight, [s.cpu() for s in shards], shape), strict=True)


def _at_first_stage(model: PackedGPT, shape: ModelShape) -> Iterator[tuple[Weight, Tensor]]:
    """Yield each parameter's shard in the processes of the first stage, to which the other stages send theirs."""
    mine, stages = _stage()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    if stages == 1:
        yield from ((weight, parameters[weight.megatron]) for weight in weight_map(shape, 0, 1))
        return
    group = parallel_state.get_pipeline_model_parallel_group()
    sizes: list[dict[str, torch.Size]] = [{} for _ in range(stages)]
    dist.all_gather_object(sizes, {name: p.shape for name, p in parameters.items()}, group=group)
    first = dist.get_global_rank(group, 0)
    like = next(iter(parameters.values()))
    for stage in range(stages):
        for weight in weight_map(shape, stage, stages):
            if weight.copy:
                continue
            if mine == stage and mine > 0:
                dist.send(parameters[weight.megatron].contiguous(), first, group=group)
            elif mine == 0:
                shard = parameters[weight.megatron] if stage == 0 else like.new_empty(sizes[stage][weight.megatron])
                if stage > 0:
                    dist.recv(shard, dist.get_global_rank(group, stage), group=group)
                yield weight, shard


def _stage() -> tuple[int, int]:
    """This process's pipeline stage and the number of stages."""
    return (
        parallel_state.get_pipeline_model_parallel_rank(),
        parallel_state.get_pipeline_model_parallel_world_size(),
    )


def _join(weight: Weight, shards: list[Tensor], shape: ModelShape) -> list[Tensor]:
    """The Hugging Face tensors of a parameter from all its shards, in rank order."""
    if weight.cut == "whole":
        return shards
    if weight.cut == "columns":
        return [torch.cat(shards, dim=1)]
    if weight.cut == "vocab":
        return [torch.cat(shards)[: shape.vocab]]
    if weight.cut == "gate_up":
        halves = [s.chunk(2) for s in shards]
        return [torch.cat([h[i] for h in halves]) for i in range(2)]
    if weight.cut == "qkv":
        queries = shape.heads // shape.kv_heads
        whole = torch.cat(shards)
        grouped = whole.view(shape.kv_heads, (queries + 2) * shape.head_dim, *whole.shape[1:])
        sizes = [queries * shape.head_dim, shape.head_dim, shape.head_dim]
        return [p.flatten(0, 1) for p in grouped.split(sizes, dim=1)]
    return [torch.cat(shards)]
