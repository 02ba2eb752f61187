"""Statistics of success rates: intervals, paired comparisons of checkpoints, and statistical power.

Contract: functions take plain numbers and return a frozen :class:`Interval` or :class:`Paired`; randomness takes a
seed. Rates are fractions of 1, differences are *after minus before*. Two checkpoints are compared on the same tasks,
pair by pair: most of the variance between tasks cancels, which an unpaired test would waste.
Cost: microseconds to milliseconds; ``minimum_detectable_effect`` makes about 30 evaluations of O(n).

Does not do: choose comparisons, or correct for several of them (:func:`holm` does when called).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95
RESAMPLED_AT_ONCE = 5_000_000
"""Values that a bootstrap draws at once: 40 MB for each array. The draws are the same for every number."""


@dataclass(frozen=True)
class Interval:
    """An estimate and the confidence interval around it."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Two checkpoints on the same ``n`` tasks: counts of changed tasks, change of the rate, p-value.

    ``difference`` is Tango's score interval, ``p_value`` the exact McNemar test; being an approximation and an exact
    (conservative) test, the two may disagree at the very edge of significance.
    """

    both: int
    gained: int
    lost: int
    neither: int
    difference: Interval
    p_value: float

    @property
    def n(self) -> int:
        """Number of tasks."""
        return self.both + self.gained + self.lost + self.neither

    @property
    def discordance(self) -> float:
        """Share of tasks on which the two differ; only these carry evidence."""
        return (self.gained + self.lost) / self.n


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval for a proportion; it stays inside [0, 1] and is valid at 0 of n and n of n.

    Source: Wilson, JASA 22 (1927) 209; recommended by Brown, Cai & DasGupta, Statist. Sci. 16 (2001) 101.
    Raises ``ValueError`` unless 0 <= successes <= n and n >= 1.
    """
    bounds = stats.binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
    return Interval(successes / n, float(bounds.low), float(bounds.high))


def bootstrap_mean(
    values: Sequence[float], clusters: Sequence[str], *, seed: int, resamples: int = 2000, level: float = LEVEL
) -> Interval:
    """Mean with a percentile bootstrap interval over whole clusters, for skewed quantities such as seconds or tokens.

    Source: Davison & Hinkley, Bootstrap Methods and their Application (1997), sections 2.4 and 3.8.
    Raises ``ValueError`` for fewer than two clusters.
    """
    sums, counts = _cluster_sums(values, clusters)
    outcome = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, RESAMPLED_AT_ONCE // len(sums)),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    bounds = outcome.confidence_interval
    return Interval(float(sums.sum() / counts.sum()), float(bounds.low), float(bounds.high))


def compare_paired(before: Sequence[bool], after: Sequence[bool], level: float = LEVEL) -> Paired:
    """Compares two checkpoints task by task; position i is the same task in both.

    Sources: exact McNemar: McNemar, Psychometrika 12 (1947) 153, with binomial tail; difference: see
    :func:`tango_interval`. Raises ``ValueError`` when the lengths differ or are zero.
    """
    pairs = list(zip(before, after, strict=True))
    if not pairs:
        raise ValueError("before, after: no tasks in common; evaluate both checkpoints on the same benchmark")
    gained = sum(1 for b, a in pairs if a and not b)
    lost = sum(1 for b, a in pairs if b and not a)
    both = sum(1 for b, a in pairs if b and a)
    return Paired(
        both=both,
        gained=gained,
        lost=lost,
        neither=len(pairs) - both - gained - lost,
        difference=tango_interval(gained, lost, len(pairs), level),
        p_value=float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
    )


def compare_shares(before: Sequence[float], after: Sequence[float]) -> Paired:
    """Compares two checkpoints by the share of solved episodes of each task; position i is the same task in both.

    Where every share is 0 or 1 this is :func:`compare_paired`. Otherwise *gained* and *lost* count tasks that are
    solved more, or less, often; the p-value is that of the exact sign test, and the difference of the means has a
    bootstrap interval over tasks (−1 to 1 for a single task).

    Raises ``ValueError`` when the lengths differ or are zero.
    """
    if all(share in (0.0, 1.0) for share in (*before, *after)):
        return compare_paired([share == 1.0 for share in before], [share == 1.0 for share in after])
    pairs = list(zip(before, after, strict=True))
    signs = compare_paired([b > a for b, a in pairs], [a > b for b, a in pairs])
    changes = [a - b for b, a in pairs]
    several = len(changes) > 1
    tasks = [str(index) for index in range(len(changes))]
    difference = bootstrap_mean(changes, tasks, seed=0) if several else Interval(changes[0], -1.0, 1.0)
    return replace(signs, difference=difference)


def pass_at_k(episodes: int, solved: int, k: int) -> float:
    """Probability that at least one of ``k`` episodes of a task is solved, unbiased, from ``solved`` of ``episodes``.

    1 − C(n − c, k) / C(n, k), in exact integers. Source: Chen et al., arXiv 2107.03374, equation 1.
    Raises ``ValueError`` unless 0 <= solved <= episodes and 1 <= k <= episodes.
    """
    if not 0 <= solved <= episodes or not 1 <= k <= episodes:
        raise ValueError(f"pass@{k}: it cannot be estimated from {solved} solved of {episodes} episodes")
    return 1.0 - math.comb(episodes - solved, k) / math.comb(episodes, k)


def tango_interval(gained: int, lost: int, n: int, level: float = LEVEL) -> Interval:
    """Score interval for the difference of two paired proportions, (gained − lost) / n.

    The limits are the Δ at which (gained − lost − nΔ) / √(n(2q + Δ(1−Δ))) = ±z, q being the probability of *lost*
    that is most likely under Δ. Keeps its level for few and for no discordant pairs, where Wald's collapses.
    Source: Tango, Statistics in Medicine 17 (1998) 891; recommended by Fagerland, Lydersen & Laake, ibid.
    33 (2014) 2850.
    """
    z = float(stats.norm.ppf(0.5 + level / 2))
    estimate = (gained - lost) / n

    def score(delta: float, sign: int) -> float:
        linear = (2 * n - gained + lost) * delta - gained - lost
        root = math.sqrt(max(linear**2 + 8 * n * lost * delta * (1 - delta), 0.0))
        q = (root - linear) / (4 * n)
        return gained - lost - n * delta - sign * z * math.sqrt(max(n * (2 * q + delta * (1 - delta)), 0.0))

    # At the estimate the variance may be zero (no discordant pair, or only gains): a root that is not a limit.
    nudge = 1e-9
    low = -1.0 if estimate == -1 else optimize.brentq(score, -1.0, estimate - nudge, args=(1,))
    high = 1.0 if estimate == 1 else optimize.brentq(score, estimate + nudge, 1.0, args=(-1,))
    return Interval(estimate, float(low), float(high))


def mcnemar_power(n: int, difference: float, discordance: float, level: float = LEVEL) -> float:
    """Power of the exact McNemar test over ``n`` pairs for a true ``difference``, at significance ``1 − level``.

    ``discordance`` is the share of pairs that differ, at least |difference|. Exact: the number of discordant pairs is
    binomial, and given it so is the number gained. Source: Duffy, Biometrics 40 (1984) 1005.
    """
    tail = (1 - level) / 2
    pairs = np.arange(n + 1)
    critical = stats.binom.ppf(tail, pairs, 0.5)
    critical -= stats.binom.cdf(critical, pairs, 0.5) > tail
    gain = (1 + difference / discordance) / 2
    rejects = stats.binom.cdf(critical, pairs, 1 - gain) + stats.binom.cdf(critical, pairs, gain)
    return float((stats.binom.pmf(pairs, n, discordance) * rejects).sum())


def minimum_detectable_effect(n: int, discordance: float, *, level: float = LEVEL, power: float = 0.8) -> float:
    """Smallest true difference that ``n`` paired tasks show significant with probability ``power``.

    ``discordance`` is the share of tasks on which two checkpoints differ; an effect that exceeds it replaces it.
    Infinite when ``n`` tasks could not show even a difference of 1 (n < 6 at 95 %:
    the exact McNemar test then never reaches its level).
    """

    def excess(difference: float) -> float:
        return mcnemar_power(n, difference, max(discordance, difference), level) - power

    if excess(1.0) < 0:
        return math.inf
    return float(optimize.brentq(excess, 1e-9, 1.0, xtol=1e-4))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values of ``len(p_values)`` comparisons, in the order given.

    Source: Holm, Scand. J. Statist. 6 (1979) 65.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    floor = 0.0
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def _cluster_sums(values: Sequence[float], clusters: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of values per cluster, as float64 arrays of shape (clusters,)."""
    if len(values) != len(clusters):
        raise ValueError(f"clusters: {len(clusters)} names for {len(values)} values; give each value its cluster")
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"clusters: {len(names)} cluster(s); an interval of a mean needs at least two")
    return np.bincount(index, weights=np.asarray(values, float)), np.bincount(index).astype(float)
