"""Attention over packed documents: each sees itself and its past, nothing of its neighbours.

``core`` is the module in Megatron's layers; ``layout`` says which keys a query sees; one module a kernel, from the
fastest to the plainest: ``flash``, ``varlen``, ``flex``, ``sdpa``, ``reference``; ``backends`` chooses among them.
"""

from codeact_train.model.attention.backends import choose
from codeact_train.model.attention.core import PackedAttention
from codeact_train.model.attention.layout import PackedLayout, Spans

__all__ = ["PackedAttention", "PackedLayout", "Spans", "choose"]
