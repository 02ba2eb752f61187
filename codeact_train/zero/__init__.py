"""The DeepSpeed backend: any causal language model of transformers, shared over data-parallel processes by ZeRO.

``model`` loads it, ``forward`` computes a micro-batch, ``engine`` is the one place that knows DeepSpeed, ``state`` is
what the training loop sees, ``whole`` puts shared weights together again.
"""

import os

from codeact_train import compat

os.environ.setdefault("DS_ACCELERATOR", "cuda" if compat.has_cuda() else "cpu")  # or DeepSpeed says that it guesses

from codeact_train.zero.state import ZeroState

__all__ = ["ZeroState"]
