"""Loss of a batch, and loss and accuracy by the role of the token.

Contract: :func:`count` counts what one process computed of a micro-batch. Counts are only ever added, so their sums
over micro-batches and processes do not depend on the layout. Accuracy is the share of trained tokens that are the
likeliest token at their position. Cost: two products with a matrix of as many rows as there are roles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from codeact_train.data.collate import MicroBatch
from codeact_train.data.document import ROLES

COUNTS = len(ROLES) * 4
"""Numbers that :func:`count` returns: for each role weighted loss, weight, hits, trained tokens."""


def count(results_2N: Tensor, batch: MicroBatch) -> Tensor:
    """Sums by role, float64 [COUNTS], of the results of ``loss.token_results`` for the trained slots of ``batch``."""
    losses_N, hits_N = results_2N.detach().double()
    weights_N = batch.weights.double()
    carries_N = (weights_N > 0).double()  # a placeholder slot has weight 0
    columns_N4 = torch.stack([losses_N * weights_N, weights_N, hits_N * carries_N, carries_N], dim=1)
    # not F.one_hot, which reads its input back to check it
    roles_NR = (batch.roles[:, None] == torch.arange(len(ROLES), device=batch.roles.device)).double()
    return (roles_NR.T @ columns_N4).flatten()


@dataclass(frozen=True)
class RoleStats:
    """Mean loss by weight, accuracy, and number of the trained tokens of one role."""

    loss: float
    accuracy: float
    tokens: int


@dataclass(frozen=True)
class LossStats:
    """Loss of a global batch and the sums of :func:`count`, the same in every process."""

    loss: float
    counts: tuple[float, ...]

    @property
    def roles(self) -> dict[str, RoleStats]:
        """Statistics of each role with trained tokens."""
        rows = {role: self.counts[4 * number : 4 * number + 4] for role, number in ROLES.items()}
        return {
            role: RoleStats(loss / weight, hits / tokens, int(tokens))
            for role, (loss, weight, hits, tokens) in rows.items()
            if tokens
        }

    @property
    def tokens(self) -> int:
        """Trained tokens."""
        return int(sum(self.counts[3::4]))

    @property
    def accuracy(self) -> float:
        """Accuracy over all trained tokens; 0 if there are none."""
        return sum(self.counts[2::4]) / max(self.tokens, 1)


def mean(stats: list[tuple[LossStats, float]]) -> LossStats:
    """Statistics of several batches, each with its loss weight, as of one."""
    weight = sum(own for _, own in stats)
    counts = tuple(sum(column) for column in zip(*(one.counts for one, _ in stats), strict=True))
    return LossStats(sum(one.loss * own for one, own in stats) / weight, counts)
