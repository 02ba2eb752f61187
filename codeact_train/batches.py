"""From packs to tensors: which packs a step takes, and how they stand in one sequence.

Contract: the order of packs is a function of seed and epoch, the packs of a step a function of the step alone, so a
data position is a step number and resuming needs nothing else. Every process knows the loss weight of the whole global
batch without asking the others. Padding at the end of a pack is not computed: packs of a micro-batch stand one after
another, and only the whole is padded, to ``multiple`` slots. Cost: a few numpy copies a document, no per-token Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeact_train.chat import Document
from codeact_train.corpus import Corpus, Split


@dataclass(frozen=True)
class MicroBatch:
    """Documents one after another in a sequence of S slots.

    ``tokens``: int64 [1, S], the inputs. ``positions``: int64 [S], restarting in each document. ``bounds``: where
    documents begin, and S at the end; padding counts as a document of its own. ``trained``: int64 [N], the slots whose
    next token carries loss (at least one: where there is none, a slot of weight 0 stands in). ``labels``: int64 [N],
    those next tokens. ``weights``: float32 [N], their loss weights. ``real``: slots that are not padding.
    """

    tokens: Tensor
    positions: Tensor
    bounds: tuple[int, ...]
    trained: Tensor
    labels: Tensor
    weights: Tensor
    real: int

    @property
    def slots(self) -> int:
        """Positions computed."""
        return self.tokens.shape[1]

    def to(self, device: torch.device) -> MicroBatch:
        """The same with its tensors on ``device``."""
        tensors = {
            name: getattr(self, name).to(device) for name in ("tokens", "positions", "trained", "labels", "weights")
        }
        return MicroBatch(bounds=self.bounds, real=self.real, **tensors)


@dataclass(frozen=True)
class StepBatch:
    """What one process computes in one optimizer step, and the loss weight of the whole global batch."""

    micro_batches: list[MicroBatch]
    total_weight: float


class Batches:
    """The steps of one side of a corpus."""

    def __init__(
        self,
        corpus: Corpus,
        split: Split,
        *,
        global_packs: int,
        micro_packs: int,
        seed: int,
        data_rank: int = 0,
        data_world: int = 1,
        multiple: int = 1,
    ):
        self.corpus = corpus
        self.plan = corpus.packs(split)
        self.weights = corpus.pack_weights(split)
        self.global_packs, self.micro_packs = global_packs, micro_packs
        self.seed, self.multiple = seed, multiple
        self.data_rank, self.data_world = data_rank, data_world

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass; the last takes the packs that are left."""
        return -(-len(self.plan) // self.global_packs)

    def packs_of(self, step: int) -> NDArray[np.int64]:
        """Packs of a step (0-based, counted over epochs), in the order of the epoch's permutation."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.plan))
        return order[within * self.global_packs : (within + 1) * self.global_packs]

    def step(self, step: int) -> StepBatch:
        """This process's share of a step."""
        return self._share(self.packs_of(step))

    def epoch(self) -> Iterator[StepBatch]:
        """One pass in stored order, for validation."""
        for start in range(0, len(self.plan), self.global_packs):
            yield self._share(np.arange(start, min(start + self.global_packs, len(self.plan))))

    def _share(self, packs: NDArray[np.int64]) -> StepBatch:
        """This process's part of a global batch; all processes get the same number of micro-batches."""
        mine = packs[self.data_rank :: self.data_world]
        count = -(-len(packs) // (self.data_world * self.micro_packs))
        micro = [self._collate(mine[i * self.micro_packs : (i + 1) * self.micro_packs]) for i in range(count)]
        return StepBatch(micro, float(self.weights[packs].sum()))

    def _collate(self, packs: NDArray[np.int64]) -> MicroBatch:
        return lay_out([self.corpus.document(int(d)) for pack in packs for d in self.plan[int(pack)]], self.multiple)


def lay_out(documents: list[Document], multiple: int = 1) -> MicroBatch:
    """Lay documents (possibly none) one after another, padded to a multiple of ``multiple`` slots."""
    lengths = [len(d.ids) - 1 for d in documents]
    real = sum(lengths)
    padding = -real % multiple if real else multiple
    if padding:
        lengths.append(padding)
    slots = real + padding
    tokens = np.zeros(slots, np.int64)
    labels, weights = np.zeros(slots, np.int64), np.zeros(slots, np.float32)
    bounds = np.cumsum([0, *lengths])
    for start, document in zip(bounds, documents, strict=False):
        place = slice(start, start + len(document.ids) - 1)
        tokens[place], labels[place], weights[place] = document.ids[:-1], document.ids[1:], document.weights[1:]
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
        real=real,
    )
