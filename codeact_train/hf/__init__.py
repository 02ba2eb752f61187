"""Weights between a Hugging Face folder and a Megatron model, in both directions, at any tensor- and pipeline-parallel
size.

``table`` says which tensors make up each parameter, ``shards`` how processes share one, ``folder`` and ``writer`` read
and write safetensors, ``loading`` and ``gathering`` are the two directions. What goes in comes out bit for bit; neither
direction holds more than one parameter beside the model.
"""

from codeact_train.hf.folder import SafeTensors
from codeact_train.hf.gathering import gather
from codeact_train.hf.loading import load
from codeact_train.hf.shards import cut, join
from codeact_train.hf.table import Weight, tensor_shapes, weight_map
from codeact_train.hf.writer import write

__all__ = ["SafeTensors", "Weight", "cut", "gather", "join", "load", "tensor_shapes", "weight_map", "write"]
