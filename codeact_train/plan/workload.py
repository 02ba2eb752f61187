"""Workload of a step: number of tokens, attention context, share of trained tokens.

Contract: :meth:`Workload.from_corpus` measures a prepared corpus. :meth:`Workload.assumed` is used before a corpus
exists and assumes the worst case for each number (full packs, one document per pack, every token trained), so such a
plan errs on the slow side. Cost: the corpus's index, not its tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.train import TrainConfig
from codeact_train.plan.checks import check_steps


@dataclass(frozen=True)
class Workload:
    """Mean figures of a corpus, and the batches of a run on it."""

    sequence_length: int
    context: float
    """Mean number of keys a query attends to: its document's past, within the window."""
    trained_share: float
    """Share of computed positions that carry loss, for which the head is computed."""
    step_tokens: float
    """Positions computed per step, without padding at the end of packs."""
    micro_tokens: float
    """Mean positions per micro-batch."""
    largest_micro: float
    """Positions of the largest micro-batch, which determines the memory."""
    steps_per_epoch: int | None
    """Optimizer steps per epoch; ``None`` while the number of packs is unknown."""
    epochs: int
    source: str
    """Description of where these numbers come from."""

    @classmethod
    def assumed(cls, sequence_length: int, window: int | None, train: TrainConfig, packs: int | None) -> Workload:
        """Full packs of one document each, every token trained. Raises ``ValueError`` when ``packs`` packs are too few
        for the warm-up."""
        if packs is not None:
            check_steps(train, packs, packs * sequence_length, sequence_length)
        return cls._from_means(
            train,
            packs,
            sequence_length=sequence_length,
            pack_tokens=sequence_length,
            longest=sequence_length,
            context=mean_context(np.array([sequence_length]), window),
            trained_share=1.0,
            source="no corpus yet: full packs of one document each, every token trained",
        )

    @classmethod
    def from_corpus(cls, folder: Path, window: int | None, train: TrainConfig) -> Workload:
        """The workload of a corpus's training split."""
        from codeact_train.data.corpus import Corpus

        corpus = Corpus(folder)
        stats = corpus.ledger.train
        lengths = corpus.lengths[corpus.packs("train").document] - 1
        return cls._from_means(
            train,
            stats.packs,
            sequence_length=corpus.sequence_length,
            pack_tokens=stats.filled / stats.packs,
            longest=int(lengths.max()),
            context=mean_context(lengths, window),
            trained_share=stats.trained / stats.filled,
            source=f"corpus {corpus.digest}: {stats.packs} packs, {stats.filled / stats.slots:.1%} full",
        )

    @classmethod
    def _from_means(
        cls,
        train: TrainConfig,
        packs: int | None,
        *,
        sequence_length: int,
        pack_tokens: float,
        longest: int,
        context: float,
        trained_share: float,
        source: str,
    ) -> Workload:
        """Batches by packs or, if configured, by tokens."""
        step = float(train.global_batch_tokens or train.global_batch_packs * pack_tokens)
        micro, largest = train.micro_batch_packs * pack_tokens, float(train.micro_batch_packs * sequence_length)
        if train.micro_batch_tokens:
            micro, largest = min(train.micro_batch_tokens, step), max(train.micro_batch_tokens, longest)
        steps = None if packs is None else train.steps_per_epoch(packs, round(packs * pack_tokens), sequence_length)
        return cls(
            sequence_length=sequence_length,
            context=context,
            trained_share=trained_share,
            step_tokens=step,
            micro_tokens=micro,
            largest_micro=largest,
            steps_per_epoch=steps,
            epochs=train.epochs,
            source=source,
        )

    def micro_batches(self, data: int) -> int:
        """Micro-batches per step in each of ``data`` replicas."""
        return math.ceil(self.step_tokens / (data * self.micro_tokens))


def mean_context(lengths: NDArray[np.int64], window: int | None) -> float:
    """Mean number of visible keys per position in documents of these lengths: position i has i + 1, at most ``window``.

    A document of n positions sums to n (n + 1) / 2, minus (n - w)(n - w + 1) / 2 beyond a window w.
    """
    cut = np.maximum(lengths - window, 0) if window else np.zeros_like(lengths)
    visible = lengths * (lengths + 1) / 2 - cut * (cut + 1) / 2
    return float(visible.sum() / max(int(lengths.sum()), 1))
