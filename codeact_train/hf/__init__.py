"""Conversion between Hugging Face folders and Megatron models, at any tensor- and pipeline-parallel size.

``table`` maps Hugging Face tensors to Megatron parameters and ``shards`` splits a parameter over processes. ``folder``
and ``writer`` read and write safetensors; ``loading`` and ``gathering`` are the two directions. ``export`` writes a
folder a server can load, ``embedding_init`` fills the rows of new tokens. Round trips are exact, bit for bit. Memory
beside the model: one parameter at a time. Exporting under tensor parallelism holds that parameter as parts and as a
whole, about three times the largest one (docs/training.md has measurements).
"""

from codeact_train.hf.folder import SafeTensors
from codeact_train.hf.gathering import gather
from codeact_train.hf.loading import load
from codeact_train.hf.parameter_map import Weight, tensor_shapes, weight_map
from codeact_train.hf.shards import cut, join
from codeact_train.hf.writer import write

__all__ = ["SafeTensors", "Weight", "cut", "gather", "join", "load", "tensor_shapes", "weight_map", "write"]
