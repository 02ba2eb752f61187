"""Collate: documents to the tensors of a micro-batch.

Contract: :func:`collate` builds a whole sequence of documents; :meth:`MicroBatch.part` returns the part of it that one
context-parallel process computes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from codeact_train.data.document import Document


@dataclass(frozen=True)
class MicroBatch:
    """S slots of a sequence of documents.

    ``tokens``: int64 [1, S], the inputs. ``positions``: int64 [S], restarting in each document. ``bounds``: slots of
    the whole sequence where documents begin, and its length; padding counts as one more document. ``first``: index in
    the whole sequence of the first of these slots. ``trained``: int64 [N], the slots whose next token carries loss (at
    least one: without any, it holds one slot of weight 0). ``labels``: int64 [N], those next tokens. ``weights``:
    float32 [N], their loss weights. ``roles``: uint8 [N], their roles. ``real``: slots of the whole sequence that are
    not padding.
    """

    tokens: Tensor
    positions: Tensor
    bounds: tuple[int, ...]
    trained: Tensor
    labels: Tensor
    weights: Tensor
    roles: Tensor
    real: int
    first: int = 0

    @property
    def slots(self) -> int:
        """Number of positions computed."""
        return self.tokens.shape[1]

    def to(self, device: torch.device) -> MicroBatch:
        """A copy with its tensors on ``device``."""
        names = ("tokens", "positions", "trained", "labels", "weights", "roles")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def part(self, rank: int, parts: int) -> MicroBatch:
        """Part ``rank`` of ``parts`` equal parts of the sequence."""
        if parts == 1:
            return self
        length = self.slots // parts
        first = rank * length
        here = (self.trained >= first) & (self.trained < first + length)
        whole = (self.trained - first, self.labels, self.weights, self.roles)
        trained, labels, weights, roles = (tensor[here] for tensor in whole)
        if not len(trained):
            trained, labels, weights = torch.zeros(1, dtype=torch.int64), self.labels[:1], torch.zeros(1)
            roles = self.roles[:1]
        return replace(
            self, tokens=self.tokens[:, first : first + length], positions=self.positions[first : first + length],
            trained=trained, labels=labels, weights=weights, roles=roles, first=first,
        )  # fmt: skip


@dataclass(frozen=True)
class StepBatch:
    """The micro-batches of one data-parallel process in one optimizer step, and the loss weight of the global batch."""

    micro_batches: list[MicroBatch]
    total_weight: float

    @property
    def counts(self) -> tuple[int, int, int]:
        """Slots computed, slots that are not padding, slots that carry loss."""
        trained = sum(int((m.weights > 0).sum()) for m in self.micro_batches)
        return sum(m.slots for m in self.micro_batches), sum(m.real for m in self.micro_batches), trained


def collate(documents: list[Document], multiple: int = 1, at_least: int = 0, *, rows: bool = False) -> MicroBatch:
    """Concatenate documents (possibly none), padded to at least ``at_least`` slots and to a multiple of ``multiple``.

    With ``rows``, each document is padded to the longest one, so that the sequence can be cut into equal rows of one
    document.
    """
    lengths = [len(d.ids) - 1 for d in documents]
    real = sum(lengths)
    if rows:
        lengths = [max(lengths)] * len(lengths) if lengths else []
    filled = sum(lengths)
    slots = -(-max(filled, at_least, 1) // multiple) * multiple
    if slots > filled:
        lengths.append(slots - filled)
    tokens = np.zeros(slots, np.int64)
    labels, weights, roles = np.zeros(slots, np.int64), np.zeros(slots, np.float32), np.zeros(slots, np.uint8)
    bounds = np.cumsum([0, *lengths])
    for start, document in zip(bounds, documents, strict=False):
        span = slice(start, start + len(document.ids) - 1)
        tokens[span], labels[span] = document.ids[:-1], document.ids[1:]
        weights[span], roles[span] = document.weights[1:], document.roles[1:]
    trained = np.flatnonzero(weights)
    if not len(trained):
        trained = np.zeros(1, np.int64)
    return MicroBatch(
        tokens=torch.from_numpy(tokens)[None],
        positions=torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])),
        bounds=tuple(bounds.tolist()),
        trained=torch.from_numpy(trained),
        labels=torch.from_numpy(labels[trained]),
        weights=torch.from_numpy(weights[trained]),
        roles=torch.from_numpy(roles[trained]),
        real=real,
    )
