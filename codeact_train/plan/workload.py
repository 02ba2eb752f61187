"""What a step computes: how many tokens, how far they see, how many are trained.

Contract: :meth:`Workload.of_corpus` counts a prepared corpus; :meth:`Workload.assumed` stands in before there is one
and takes the worst case for each (full packs, one document a pack, every token trained), so a plan made without data
errs on the slow side. Cost: the corpus's index, not its tokens.
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
    """A corpus in its means, and the batches a run makes of it."""

    sequence_length: int
    context: float
    """Keys a mean query sees: its own document's past, within the window."""
    trained_share: float
    """Positions that carry loss, as a share of those computed: where the head is computed."""
    step_tokens: float
    """Positions computed in a step; padding at a pack's end is not computed."""
    micro_tokens: float
    """Positions of a mean micro-batch."""
    largest_micro: float
    """Positions of the largest micro-batch, which decides the memory."""
    steps_per_epoch: int | None
    """Optimizer steps of one pass; ``None`` before anybody knows the number of packs."""
    epochs: int
    source: str
    """Where these numbers come from, for a person."""

    @classmethod
    def assumed(cls, sequence_length: int, window: int | None, train: TrainConfig, packs: int | None) -> Workload:
        """Full packs of one document each, every token trained. Raises ``ValueError`` when so many packs make no
        run."""
        if packs is not None:
            check_steps(train, packs, packs * sequence_length, sequence_length)
        return cls._of(
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
    def of_corpus(cls, folder: Path, window: int | None, train: TrainConfig) -> Workload:
        """What the training side of a corpus holds."""
        from codeact_train.data.corpus import Corpus

        corpus = Corpus(folder)
        half = corpus.ledger.train
        lengths = corpus.lengths[corpus.packs("train").document] - 1
        return cls._of(
            train,
            half.packs,
            sequence_length=corpus.sequence_length,
            pack_tokens=half.filled / half.packs,
            longest=int(lengths.max()),
            context=mean_context(lengths, window),
            trained_share=half.trained / half.filled,
            source=f"corpus {corpus.digest}: {half.packs} packs, {half.filled / half.slots:.1%} full",
        )

    @classmethod
    def _of(
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
        """Batches by packs or, where the configuration says so, by tokens."""
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
        """Micro-batches of a step in each of ``data`` replicas."""
        return math.ceil(self.step_tokens / (data * self.micro_tokens))


def mean_context(lengths: NDArray[np.int64], window: int | None) -> float:
    """Keys a mean position sees in documents of these lengths: position i sees i + 1, at most ``window``.

    A document of n positions adds up to n (n + 1) / 2, less (n - w)(n - w + 1) / 2 that a window w cuts off.
    """
    cut = np.maximum(lengths - window, 0) if window else np.zeros_like(lengths)
    seen = lengths * (lengths + 1) / 2 - cut * (cut + 1) / 2
    return float(seen.sum() / max(int(lengths.sum()), 1))
