"""What a batch came to: its loss, and loss and accuracy by the role of the token.

Contract: :func:`tally` counts what one process computed of a micro-batch; the counts only ever add up, so their sums
over micro-batches and processes do not depend on the layout. An accuracy is the share of trained tokens that no other
token was likelier than. Cost: two products with a matrix of as many rows as there are roles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from codeact_train.data.collate import MicroBatch
from codeact_train.data.document import ROLES

COUNTS = len(ROLES) * 4
"""Numbers in a tally: for each role weighted loss, weight, hits, trained tokens."""


def tally(results_2N: Tensor, batch: MicroBatch) -> Tensor:
    """Sums by role, float64 [COUNTS], of what ``loss.token_results`` says of the trained slots of ``batch``."""
    losses_N, hits_N = results_2N.detach().double()
    weights_N = batch.weights.double()
    carries_N = (weights_N > 0).double()  # a slot that only stands in for none has no weight
    columns_N4 = torch.stack([losses_N * weights_N, weights_N, hits_N * carries_N, carries_N], dim=1)
    return (F.one_hot(batch.roles.long(), len(ROLES)).double().T @ columns_N4).flatten()


@dataclass(frozen=True)
class RoleOutcome:
    """Mean loss by weight, share of hits, and number of the trained tokens of one role."""

    loss: float
    accuracy: float
    tokens: int


@dataclass(frozen=True)
class Outcome:
    """Of a global batch, the same in every process. ``counts``: a tally of all of it."""

    loss: float
    counts: tuple[float, ...]

    @property
    def roles(self) -> dict[str, RoleOutcome]:
        """Of each role that has trained tokens."""
        rows = {role: self.counts[4 * number : 4 * number + 4] for role, number in ROLES.items()}
        return {
            role: RoleOutcome(loss / weight, hits / tokens, int(tokens))
            for role, (loss, weight, hits, tokens) in rows.items()
            if tokens
        }

    @property
    def tokens(self) -> int:
        """Trained tokens."""
        return int(sum(self.counts[3::4]))

    @property
    def accuracy(self) -> float:
        """Share of hits among all trained tokens; 0 without any."""
        return sum(self.counts[2::4]) / max(self.tokens, 1)


def mean(outcomes: list[tuple[Outcome, float]]) -> Outcome:
    """The outcome of several batches, each with its loss weight, taken as one."""
    weight = sum(own for _, own in outcomes)
    counts = tuple(sum(column) for column in zip(*(one.counts for one, _ in outcomes), strict=True))
    return Outcome(sum(one.loss * own for one, own in outcomes) / weight, counts)
