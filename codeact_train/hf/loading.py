"""Loading: from a Hugging Face folder into a Megatron model.

Contract: every parameter of this process is filled, converted to the model's dtype. Cost: this process's slices are
read, one parameter at a time; slices of other processes are not read.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from megatron.core import parallel_state

from codeact_train.hf.parameter_map import weight_map
from codeact_train.hf.shards import cut
from codeact_train.model.gpt import PackedGPT
from codeact_train.model.spec import ModelSpec


class Source(Protocol):
    """Lazy slices by tensor name."""

    def __getitem__(self, name: str) -> Any: ...


def load(model: PackedGPT, spec: ModelSpec, tensors: Source) -> None:
    """Fill this process's parameters from tensors with the shapes of ``hf.tensor_shapes``."""
    rank, size = parallel_state.get_tensor_model_parallel_rank(), parallel_state.get_tensor_model_parallel_world_size()
    stage = parallel_state.get_pipeline_model_parallel_rank()
    stages = parallel_state.get_pipeline_model_parallel_world_size()
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for weight in weight_map(spec, stage, stages):
            value = cut(weight, [tensors[name] for name in weight.hf], spec, rank, size)
            parameter = parameters.pop(weight.megatron)
            assert value.shape == parameter.shape, f"{weight.megatron}: {value.shape} for {parameter.shape}"
            parameter.copy_(value)
    assert not parameters, f"parameters without a tensor: {sorted(parameters)}"
