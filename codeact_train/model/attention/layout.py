"""Which keys each query sees, said by document bounds alone.

Contract: a process holds S queries, a stretch of a sequence of documents, and the T keys from the beginning of the
document its first query is in up to its last query. So query s stands at key s + T - S, and sees from the beginning of
its document, or of its window, up to there. Without context parallelism S = T is the whole sequence. Nothing here is
larger than S.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Spans:
    """Bounds of the documents among a process's queries, and among the keys they see.

    The queries ``query[i]:query[i + 1]`` are the last of the keys ``key[i]:key[i + 1]``; only the first span can have
    more keys than queries. ``first_key``: where in the whole sequence the keys begin.
    """

    query: tuple[int, ...]
    key: tuple[int, ...]
    first_key: int

    @classmethod
    def of(cls, bounds: tuple[int, ...], first: int, slots: int) -> Spans:
        """Spans of the ``slots`` queries from ``first`` on in a sequence whose documents begin at ``bounds``."""
        last = first + slots
        begin = max(b for b in bounds if b <= first)
        inside = [b for b in bounds if first < b < last]
        query, key = ([b - origin for b in inside] for origin in (first, begin))
        return cls((0, *query, slots), (0, *key, last - begin), begin)

    @property
    def shift(self) -> int:
        """Keys before the first query: query s stands at key s + shift."""
        return self.key[-1] - self.query[-1]

    def first_visible(self, window: int | None) -> np.ndarray:
        """int64 [S]: the first key each query sees; with ``window``, at most that many keys end at the query."""
        lengths = np.diff(self.query)
        begins = np.repeat(self.key[:-1], lengths)
        if window is None:
            return begins
        return np.maximum(begins, np.arange(len(begins)) + self.shift - window + 1)


@dataclass(frozen=True, eq=False)
class PackedLayout:
    """What the layers need to know of a process's part of a sequence.

    ``window``: keys a query sees at most, itself included. ``cos``, ``sin``: [S, 1, 1, head_dim] in the type of the
    activations. Megatron hands it through as ``packed_seq_params``; ``qkv_format`` tells it to leave [S, B, H, D] as it
    is.
    """

    spans: Spans
    window: int | None
    cos: Tensor
    sin: Tensor
    qkv_format: str = "sbhd"

    @cached_property
    def cumulative(self) -> tuple[Tensor, Tensor]:
        """Bounds of queries and of keys as kernels take them, int32 on the device of the activations."""
        query, key = (
            torch.tensor(b, dtype=torch.int32, device=self.cos.device) for b in (self.spans.query, self.spans.key)
        )
        return query, key

    @cached_property
    def longest(self) -> tuple[int, int]:
        """Most queries and most keys of a span."""
        return int(np.diff(self.spans.query).max()), int(np.diff(self.spans.key).max())

    @cached_property
    def windowless(self) -> PackedLayout:
        """The same for layers that see all of a document."""
        return self if self.window is None else replace(self, window=None)

    @property
    def reach(self) -> tuple[int, int]:
        """Keys seen before and after the query's own, as kernels take it: -1 is all of the document."""
        return (-1 if self.window is None else self.window - 1, 0)
