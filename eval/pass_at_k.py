"""pass@k: how likely at least one of k episodes of a task is solved, from n episodes of each task.

Contract: the unbiased estimator of Chen et al. (arXiv 2107.03374, equation 1) for each task, averaged over tasks. Its
interval is the percentile bootstrap over tasks, with a fixed seed. A task with fewer than k episodes that have a
verdict is left out of pass@k. pass@1 is the rate of success.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from eval.results import EpisodeResult, EvalResult
from eval.stats import Interval, bootstrap_mean, pass_at_k

_SHOWN = (1, 2, 5)


@dataclass(frozen=True)
class PassAtK:
    """pass@k of ``tasks`` tasks. There is no interval around a single task."""

    k: int
    estimate: float
    interval: Interval | None
    tasks: int

    @property
    def text(self) -> str:
        """``pass@10 45.1 % (37.8–52.4)``."""
        limits = f" ({100 * self.interval.low:.1f}–{100 * self.interval.high:.1f})" if self.interval else ""
        return f"pass@{self.k} {100 * self.estimate:.1f} %{limits}"


def shown_ks(samples: int) -> list[int]:
    """The k that are shown: 1, 2, 5, 10, 20, … up to the episodes of a task, and that number; none for one episode."""
    if samples == 1:
        return []
    powers = (10**power for power in range(len(str(samples))))
    return [*(k for power in powers for step in _SHOWN if (k := step * power) < samples), samples]


def pass_of(
    result: EvalResult, k: int, belongs: Callable[[EpisodeResult], bool] = lambda episode: True
) -> PassAtK | None:
    """pass@k of some tasks of a result; None when no task has k episodes with a verdict.

    Args:
        k: at least 1.
        belongs: which episodes count.
    """
    outcomes: dict[str, list[bool]] = {}
    for episode in filter(belongs, result.episodes):
        outcomes.setdefault(episode.task_id, []).append(episode.success)
    values = {task: pass_at_k(len(found), sum(found), k) for task, found in outcomes.items() if len(found) >= k}
    if not values:
        return None
    interval = bootstrap_mean(list(values.values()), list(values), seed=0) if len(values) > 1 else None
    return PassAtK(k, fmean(values.values()), interval, len(values))
