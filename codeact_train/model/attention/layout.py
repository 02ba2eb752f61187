"""Attention layout: which keys each query attends to, derived from document bounds.

Contract: a process holds S queries, a part of a sequence of documents, and the T keys from the start of the first
query's document up to the last query. Query s is therefore aligned with key s + T - S, and attends to the keys from the
start of its document, or of its window, up to that one. Without context parallelism S = T is the whole sequence. No
tensor here is larger than S.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Spans:
    """Bounds of the documents among a process's queries and keys.

    The queries ``query[i]:query[i + 1]`` are the last of the keys ``key[i]:key[i + 1]``; only the first span can have
    more keys than queries. ``first_key``: position of the first key in the whole sequence.
    """

    query: tuple[int, ...]
    key: tuple[int, ...]
    first_key: int

    @classmethod
    def from_bounds(cls, bounds: tuple[int, ...], first: int, slots: int) -> Spans:
        """Spans of the ``slots`` queries from ``first`` on, in a sequence whose documents begin at ``bounds``."""
        last = first + slots
        begin = max(b for b in bounds if b <= first)
        inside = [b for b in bounds if first < b < last]
        query, key = ([b - origin for b in inside] for origin in (first, begin))
        return cls((0, *query, slots), (0, *key, last - begin), begin)

    @property
    def shift(self) -> int:
        """Keys before the first query: query s is aligned with key s + shift."""
        return self.key[-1] - self.query[-1]

    def first_visible(self, window: int | None) -> np.ndarray:
        """int64 [S]: the first key each query attends to; with ``window``, each attends to at most that many keys."""
        lengths = np.diff(self.query)
        begins = np.repeat(self.key[:-1], lengths)
        if window is None:
            return begins
        return np.maximum(begins, np.arange(len(begins)) + self.shift - window + 1)


@dataclass(frozen=True, eq=False)
class PackedLayout:
    """The layout of a process's part of a sequence, as the layers need it.

    ``window``: maximum number of keys a query attends to, itself included. ``cos``, ``sin``: [S, 1, 1, head_dim] in the
    dtype of the activations. Megatron passes this object through as ``packed_seq_params``; ``qkv_format`` makes it keep
    [S, B, H, D].
    """

    spans: Spans
    window: int | None
    cos: Tensor
    sin: Tensor
    qkv_format: str = "sbhd"

    @cached_property
    def cu_seqlens(self) -> tuple[Tensor, Tensor]:
        """Cumulative bounds of queries and of keys for the kernels, int32 on the device of the activations."""
        query, key = (
            torch.tensor(b, dtype=torch.int32, device=self.cos.device) for b in (self.spans.query, self.spans.key)
        )
        return query, key

    @cached_property
    def max_seqlens(self) -> tuple[int, int]:
        """Largest number of queries and of keys in a span."""
        return int(np.diff(self.spans.query).max()), int(np.diff(self.spans.key).max())

    @property
    def windowless(self) -> PackedLayout:
        """The same layout without a window, for layers that attend to the whole document."""
        return self if self.window is None else self._windowless

    @cached_property
    def _windowless(self) -> PackedLayout:
        return replace(self, window=None)

    @property
    def window_size(self) -> tuple[int, int]:
        """Keys before and after the query's key, as the kernels define it: -1 is all of the document."""
        return (-1 if self.window is None else self.window - 1, 0)
