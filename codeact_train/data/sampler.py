"""Sampler: the order of packs in an epoch, and the micro-batches of each step.

Contract: the order of packs is a function of seed and epoch, and the packs of a step are a function of the step number
alone. So the position in the data is a step number, and resuming needs nothing else. Every process knows the loss
weight of the global batch without communication. Padding at the end of a pack is not computed: the documents of a
micro-batch are concatenated, and only the result is padded, as far as the parallel layout requires. Cost: a few numpy
copies per document, no per-token Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.train import TrainConfig
from codeact_train.data.collate import StepBatch, collate
from codeact_train.data.corpus import Corpus, Split
from codeact_train.data.packing import best_fit_decreasing


class Sampler:
    """The batches of one split of a corpus, for one of ``data_world`` data-parallel processes."""

    def __init__(self, corpus: Corpus, split: Split, train: TrainConfig, data_rank: int = 0, data_world: int = 1):
        self.corpus, self.train = corpus, train
        self.plan = corpus.packs(split)
        self.weights = corpus.pack_weights(split)
        self.data_rank, self.data_world = data_rank, data_world
        self.rows = False  # whether the documents of a micro-batch are padded to one length
        self._slots = corpus.lengths - 1  # of each document of the corpus
        filled = self._slots[self.plan.document]
        self._begins = np.concatenate(([0], np.cumsum(filled)))[self.plan.offset]
        self._order = lru_cache(maxsize=1)(self._permuted)
        self.steps_per_epoch = train.steps_per_epoch(len(self.plan), int(filled.sum()), corpus.sequence_length)

    def packs_of(self, step: int) -> NDArray[np.int64]:
        """Packs of a step (0-based, counted over all epochs), in the order of the epoch's permutation."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return self._cut(self._order(epoch), within)

    def batch(self, step: int) -> StepBatch:
        """This process's share of a step."""
        return self._share(self.packs_of(step))

    def epoch(self) -> Iterator[StepBatch]:
        """One pass in stored order, for validation."""
        for step in range(self.steps_per_epoch):
            yield self._share(self._cut(np.arange(len(self.plan)), step))

    def _permuted(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.train.seed, epoch]).permutation(len(self.plan))

    def _cut(self, order: NDArray[np.int64], step: int) -> NDArray[np.int64]:
        """The part of an epoch that belongs to one step: ``global_batch_packs`` packs, or the packs that begin in the
        step's range of tokens."""
        if self.train.global_batch_tokens is None:
            size = self.train.global_batch_packs
            return order[step * size : (step + 1) * size]
        sizes = np.diff(self._begins)[order]
        begins = np.cumsum(sizes) - sizes
        stretch = sizes.sum() / self.steps_per_epoch
        first, last = np.searchsorted(begins, [step * stretch, (step + 1) * stretch])
        return order[first:last]

    def _share(self, packs: NDArray[np.int64]) -> StepBatch:
        """This process's part of a global batch. All processes get the same number of micro-batches."""
        by_length = self._by_tokens if self.train.micro_batch_tokens else self._by_packs
        micro = self._by_rows(packs) if self.rows else by_length(packs)
        count = -(-len(micro) // self.data_world)
        mine = micro[self.data_rank :: self.data_world]
        mine += [np.zeros(0, np.int64)] * (count - len(mine))
        parallel = self.train.parallel
        multiple, longest = parallel.slot_multiple, 0
        if parallel.pipeline > 1:  # stages exchange tensors of one shape
            longest = max(int(self._slots[documents].sum()) for documents in mine)
        batches = [
            collate([self.corpus.document(int(d)) for d in documents], multiple, longest, rows=self.rows)
            for documents in mine
        ]
        return StepBatch(batches, float(self.weights[packs].sum()))

    def _by_packs(self, packs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Documents of each micro-batch; consecutive micro-batches go to different processes."""
        size = self.train.micro_batch_packs
        mine = [packs[rank :: self.data_world] for rank in range(self.data_world)]
        starts = range(0, len(mine[0]), size)
        groups = [share[start : start + size] for start in starts for share in mine]
        return [np.concatenate([self.plan[int(pack)] for pack in group]) for group in groups if len(group)]

    def _by_rows(self, packs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The same documents, longest first; each micro-batch takes as many as fit when padded to its longest one."""
        slots = self.train.micro_batch_tokens or self.corpus.sequence_length * self.train.micro_batch_packs
        documents = np.concatenate([self.plan[int(pack)] for pack in packs])
        documents = documents[np.argsort(-self._slots[documents], kind="stable")]
        micro = []
        while len(documents):
            fitting = max(1, slots // int(self._slots[documents[0]]))
            micro.append(documents[:fitting])
            documents = documents[fitting:]
        return micro

    def _by_tokens(self, packs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The same documents, repacked into sequences of at most ``micro_batch_tokens`` slots, fullest first."""
        assert self.train.micro_batch_tokens is not None
        documents = np.concatenate([self.plan[int(pack)] for pack in packs])
        slots = self._slots[documents]
        alone = slots > self.train.micro_batch_tokens
        rest = documents[~alone]
        plan = best_fit_decreasing(self._slots[rest], self.train.micro_batch_tokens)
        micro = [documents[i : i + 1] for i in np.flatnonzero(alone)]
        micro += [rest[plan[i]] for i in range(len(plan))]
        return sorted(micro, key=lambda members: -int(self._slots[members].sum()))
