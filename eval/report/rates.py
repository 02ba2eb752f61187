"""Rates of success and their comparison, from the episodes of results: one of each task, or several.

Contract: with one episode a task, a rate has Wilson's interval, and two checkpoints are compared by the exact McNemar
test with Tango's interval. With several, the share of a task's solved episodes takes the place of its outcome:
intervals are bootstrapped over tasks, and the test is the exact sign test, which for one episode is McNemar's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from eval.results import EpisodeResult
from eval.stats import Interval, Paired, bootstrap_mean, compare_shares, wilson


@dataclass(frozen=True)
class Rate:
    """``solved`` of ``n`` episodes with a 95 % interval."""

    solved: int
    n: int
    interval: Interval

    @classmethod
    def from_counts(cls, solved: int, n: int) -> Rate:
        """The rate with Wilson's interval."""
        return cls(solved, n, wilson(solved, n))


def _solved(episode: EpisodeResult) -> bool:
    return episode.success


def rate_of(episodes: Sequence[EpisodeResult], holds: Callable[[EpisodeResult], bool] = _solved) -> Rate:
    """The share of episodes for which ``holds`` is true, by default those that are solved."""
    found = [holds(episode) for episode in episodes]
    tasks = [episode.task_id for episode in episodes]
    if len(set(tasks)) in (1, len(tasks)):
        return Rate.from_counts(sum(found), len(found))
    return Rate(sum(found), len(found), bootstrap_mean(found, tasks, seed=0))


def shares_of(episodes: Sequence[EpisodeResult]) -> dict[str, float]:
    """Task → share of its episodes that are solved."""
    outcomes: dict[str, list[bool]] = {}
    for episode in episodes:
        outcomes.setdefault(episode.task_id, []).append(episode.success)
    return {task: fmean(solved) for task, solved in outcomes.items()}


def have_common_tasks(before: Sequence[EpisodeResult], after: Sequence[EpisodeResult]) -> bool:
    """Whether a task has an episode in both."""
    return not {episode.task_id for episode in before}.isdisjoint(episode.task_id for episode in after)


def compare(before: Sequence[EpisodeResult], after: Sequence[EpisodeResult]) -> Paired:
    """Compares two checkpoints on the tasks that both have. Raises ValueError when there are none."""
    earlier, later = shares_of(before), shares_of(after)
    tasks = [task for task in earlier if task in later]
    if not tasks:
        raise ValueError("before, after: no tasks in common; evaluate both checkpoints on the same benchmark")
    return compare_shares([earlier[task] for task in tasks], [later[task] for task in tasks])
