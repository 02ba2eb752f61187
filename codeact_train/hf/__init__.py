"""Weights between a Hugging Face folder and a Megatron model, in both directions, at any tensor- and pipeline-parallel
size.

``table`` says which tensors make up each parameter, ``shards`` how processes share one, ``folder`` and ``writer`` read
and write safetensors, ``loading`` and ``gathering`` are the two directions. What goes in comes out bit for bit. Beside
the model there is one parameter at a time; while exporting under tensor parallelism it is there as its parts and as the
whole they make, about three times the largest one (docs/training.md has what was measured).
"""

from codeact_train.hf.folder import SafeTensors
from codeact_train.hf.gathering import gather
from codeact_train.hf.loading import load
from codeact_train.hf.shards import cut, join
from codeact_train.hf.table import Weight, tensor_shapes, weight_map
from codeact_train.hf.writer import write

__all__ = ["SafeTensors", "Weight", "cut", "gather", "join", "load", "tensor_shapes", "weight_map", "write"]
