"""Attention over packed documents: each token attends to earlier tokens of its document only.

``core`` is the module in Megatron's layers; ``layout`` defines which keys a query attends to. There is one module per
kernel, from the fastest to the simplest: ``flash``, ``varlen``, ``flex``, ``sdpa``, ``reference``; ``backends`` chooses
one.
"""

from codeact_train.model.attention.backends import choose_backend
from codeact_train.model.attention.core import PackedAttention
from codeact_train.model.attention.layout import PackedLayout, Spans

__all__ = ["PackedAttention", "PackedLayout", "Spans", "choose_backend"]
