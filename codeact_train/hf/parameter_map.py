"""Mapping of Hugging Face tensors to Megatron parameters.

Contract: :func:`weight_map` lists the parameters of one pipeline stage; loading, exporting and checking use it.
Families differ in the fields of their :class:`~codeact_train.model.spec.ModelSpec`: biases of queries, keys and values,
norms of queries and keys, an untied head. Conventions: ``linear_qkv`` rows are, for each key-value group, [its queries,
its key, its value]; ``linear_fc1`` on each process is [gate, up]; the vocabulary is padded with zero rows to divide
evenly over the processes. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from codeact_train.model.spec import ModelSpec

Cut: TypeAlias = Literal["whole", "columns", "qkv", "gate_up", "vocab"]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Weight:
    """One Megatron parameter, and the Hugging Face tensors it holds.

    ``megatron``: name within its stage. ``hf``: the tensors, in order, with their shapes. ``cut``: how processes share
    it. ``copy``: whether another stage holds it too.
    """

    megatron: str
    hf: Shapes
    cut: Cut
    copy: bool = False


def weight_map(spec: ModelSpec, stage: int, stages: int) -> list[Weight]:
    """Every parameter of one pipeline stage, in the order of its layers."""
    matrix = (spec.vocab, spec.hidden)
    weights = []
    if stage == 0:
        weights.append(Weight("embedding.word_embeddings.weight", {"model.embed_tokens.weight": matrix}, "vocab"))
    own = spec.layers // stages
    for layer in range(own):
        weights += _layer(spec, f"decoder.layers.{layer}.", f"model.layers.{stage * own + layer}.")
    if stage == stages - 1:
        weights.append(Weight("decoder.final_layernorm.weight", {"model.norm.weight": (spec.hidden,)}, "whole"))
        if not spec.tied:
            weights.append(Weight("output_layer.weight", {"lm_head.weight": matrix}, "vocab"))
        elif stages > 1:
            weights.append(Weight("output_layer.weight", {"model.embed_tokens.weight": matrix}, "vocab", copy=True))
    return weights


def tensor_shapes(spec: ModelSpec) -> Shapes:
    """Every Hugging Face tensor of a model, in export order."""
    return {name: size for weight in weight_map(spec, 0, 1) for name, size in weight.hf.items()}


def _layer(spec: ModelSpec, ours: str, theirs: str) -> Iterator[Weight]:
    width, mlp, queries = spec.hidden, spec.ffn, spec.query_width
    heads = {"q": queries, "k": spec.kv_width, "v": spec.kv_width}
    attention, their_attention = f"{ours}self_attention.", f"{theirs}self_attn."
    products = {f"{their_attention}{x}_proj.weight": (rows, width) for x, rows in heads.items()}
    biases = {f"{their_attention}{x}_proj.bias": (rows,) for x, rows in heads.items()}
    gate_up = {f"{theirs}mlp.{x}_proj.weight": (mlp, width) for x in ("gate", "up")}
    yield Weight(f"{ours}input_layernorm.weight", {f"{theirs}input_layernorm.weight": (width,)}, "whole")
    yield Weight(f"{attention}linear_qkv.weight", products, "qkv")
    if spec.qkv_bias:
        yield Weight(f"{attention}linear_qkv.bias", biases, "qkv")
    if spec.qk_norm:
        for x in "qk":
            norm = {f"{their_attention}{x}_norm.weight": (spec.head_dim,)}
            yield Weight(f"{attention}{x}_layernorm.weight", norm, "whole")
    yield Weight(f"{attention}linear_proj.weight", {f"{their_attention}o_proj.weight": (width, queries)}, "columns")
    yield Weight(f"{ours}pre_mlp_layernorm.weight", {f"{theirs}post_attention_layernorm.weight": (width,)}, "whole")
    yield Weight(f"{ours}mlp.linear_fc1.weight", gate_up, "gate_up")
    yield Weight(f"{ours}mlp.linear_fc2.weight", {f"{theirs}mlp.down_proj.weight": (width, mlp)}, "columns")
