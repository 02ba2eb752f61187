"""Mean scores with their intervals, for results whose rewards say more than solved and not solved.

Contract: a mean is over tasks, or over the means of kinds where the benchmark's scale says so. Its interval is the
percentile bootstrap over the same units, with a fixed seed: over tasks, or over kinds, whose tasks resemble each other.
Rows with one kind only are resampled over its tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from eval.results import EpisodeResult, EvalResult
from eval.scale import ScoreScale
from eval.stats import Interval, bootstrap_mean

Belongs = Callable[[EpisodeResult], bool]


def _every(episode: EpisodeResult) -> bool:
    return True


@dataclass(frozen=True)
class MeanScore:
    """The mean score of ``n`` tasks, or a difference of means. There is no interval around a single task."""

    mean: float
    n: int
    interval: Interval | None
    scale: ScoreScale
    difference: bool = False

    @property
    def text(self) -> str:
        """``31.4 (25.1 to 37.9)``, with signs for a difference."""
        sign = "+" if self.difference else ""
        mean = self.scale.shown(self.mean, sign)
        if self.interval is None:
            return mean
        return f"{mean} ({self.scale.shown(self.interval.low, sign)} to {self.scale.shown(self.interval.high, sign)})"

    @property
    def certain(self) -> bool:
        """Of a difference: whether its interval leaves zero out."""
        return self.interval is not None and not self.interval.low <= 0 <= self.interval.high


def mean_score(result: EvalResult, belongs: Belongs = _every) -> MeanScore:
    """The mean score of some tasks of a result, at least one.

    Args:
        belongs: which episodes count.
    """
    return _mean(list(_by_task(result, belongs).values()), result.scale)


def figure_of(result: EvalResult) -> float:
    """What the benchmark reports: the percentage of solved episodes, or the mean score where it is scored."""
    if result.scored:
        return mean_score(result).mean
    return 100 * sum(one.success for one in result.episodes) / len(result.episodes)


def score_change(before: EvalResult, after: EvalResult, belongs: Belongs = _every) -> MeanScore | None:
    """The change of the mean score on the tasks that both results have; None when there are none."""
    earlier, later = _by_task(before, belongs), _by_task(after, _every)
    changes = [(kind, later[task][1] - score) for task, (kind, score) in earlier.items() if task in later]
    return _mean(changes, after.scale, difference=True) if changes else None


def _by_task(result: EvalResult, belongs: Belongs) -> dict[str, tuple[str, float]]:
    """Task → its kind, and the mean score of its episodes."""
    kinds: dict[str, str] = {}
    scores: dict[str, list[float]] = {}
    for one in filter(belongs, result.episodes):
        kinds[one.task_id] = one.kind
        scores.setdefault(one.task_id, []).append(result.score(one))
    return {task: (kinds[task], fmean(found)) for task, found in scores.items()}


def _mean(values: Sequence[tuple[str, float]], scale: ScoreScale, *, difference: bool = False) -> MeanScore:
    """The mean of values, each with its kind."""
    kinds: dict[str, list[float]] = {}
    for kind, value in values:
        kinds.setdefault(kind, []).append(value)
    by_kind = scale.mean_of == "kinds" and len(kinds) > 1
    units = [fmean(one) for one in kinds.values()] if by_kind else [value for _, value in values]
    interval = bootstrap_mean(units, [str(index) for index in range(len(units))], seed=0) if len(units) > 1 else None
    return MeanScore(fmean(units), len(values), interval, scale, difference)
