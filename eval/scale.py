"""The scale of a benchmark's score, for benchmarks that count more than solved and unsolved.

Contract: an episode's reward is a fraction: 0 is the low end of the scale, 1 the high end. So a grader or an
environment gives rewards from 0 to 1, whichever scale the benchmark is published on. This module is plain arithmetic.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rollout import StoredModel


class ScoreScale(StoredModel):
    """What a benchmark reports: the mean of its episodes' scores on this scale, before the share of solved tasks."""

    low: float = 0.0
    """The score of a reward of 0."""
    high: float = 1.0
    """The score of a reward of 1."""
    mean_of: Literal["tasks", "kinds"] = Field("tasks", exclude_if=lambda value: value == "tasks")
    """`tasks`: every task counts alike. `kinds`: the mean of the means of the kinds of tasks."""
    beside: bool = Field(False, exclude_if=lambda value: value is False)
    """The share of solved tasks stays the benchmark's figure, and the mean score is shown beside it."""

    def score(self, reward: float) -> float:
        """The score of a reward."""
        return self.low + (self.high - self.low) * reward

    def shown(self, score: float, sign: str = "") -> str:
        """A score as people read it: one decimal on a scale as wide as 0 to 100, else two.

        Args:
            sign: ``+`` for differences.
        """
        digits = 1 if self.high - self.low >= 50 else 2
        return f"{score:{sign}.{digits}f}".replace("-", "\u2212")
