"""Success rates of the checkpoints and the confidence in them: the figures of the report.

Contract: results are compared only within a :class:`Suite`, that is, with the same benchmark, protocol, sampling and
seed, and so on the same tasks under the same rules. Rates have Wilson intervals; changes against the base have Tango
intervals and exact McNemar p-values, adjusted (Holm) for the number of epochs. The best epoch is chosen on the tasks
that it is reported on, so its rate is biased upwards a little; the report says so. This module does not render.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from eval.results import EpisodeResult, EvalResult
from eval.scores import Belongs, MeanScore, mean_score, score_change
from eval.stats import Interval, Paired, bootstrap_mean, compare_paired, holm, minimum_detectable_effect, wilson
from rollout import Reason

GROUP_NAMES = {
    "trained": "Trained kinds",
    "unseen_wording": "Unseen wording",
    "unseen_tool": "Unseen tool",
    "mint_id": "MINT-ID",
    "mint_od": "MINT-OD",
}
"""Row headings of the built-in groups, in the order of the report; other groups follow under their own names."""


def group_name(group: str) -> str:
    """The heading of a group."""
    return GROUP_NAMES.get(group, group.replace("_", " ").capitalize())


def group_order(group: str) -> tuple[int, str]:
    """Sort key: built-in groups first."""
    known = list(GROUP_NAMES)
    return (known.index(group) if group in known else len(known), group)


def having(**fields: object) -> Belongs:
    """A predicate for episodes with these field values; without any, it holds for every episode."""
    return lambda episode: all(getattr(episode, name) == value for name, value in fields.items())


EVERY = having()


@dataclass(frozen=True)
class Rate:
    """``solved`` of ``n`` tasks with a 95 % interval."""

    solved: int
    n: int
    interval: Interval

    @classmethod
    def from_counts(cls, solved: int, n: int) -> Rate:
        """The rate with Wilson's interval."""
        return cls(solved, n, wilson(solved, n))


@dataclass(frozen=True)
class Slice:
    """One row of the success table: some of the tasks, their rate at each checkpoint, the change to the best epoch.

    ``legacy`` are the rates by the reference system's rules, None for a checkpoint that they did not judge. ``scores``
    are mean scores, empty where they say no more than success.
    """

    name: str
    level: str
    n: int
    rates: list[Rate]
    change: Paired | None
    legacy: list[Rate | None]
    scores: list[MeanScore]
    score_change: MeanScore | None


@dataclass(frozen=True)
class Effort:
    """Cost and outcomes of one checkpoint's episodes. Means have bootstrap intervals over tasks."""

    checkpoint: str
    two_cells: Rate
    solved_with_two_cells: Rate
    recovered: Rate
    means: dict[str, Interval]
    reasons: dict[str, int]
    wall_s: float


@dataclass(frozen=True)
class Suite:
    """Results that may be compared, by epoch; the base model, if it was measured, is first."""

    results: list[EvalResult]

    @property
    def first(self) -> EvalResult:
        """One of the results, for what they share."""
        return self.results[0]

    @property
    def base(self) -> EvalResult | None:
        """The model before training."""
        return self.first if self.first.checkpoint.epoch == 0 else None

    @property
    def best(self) -> EvalResult | None:
        """The epoch with the highest figure: share of solved tasks or mean score. Of several, the earliest."""
        trained = [result for result in self.results if result.checkpoint.epoch > 0]
        return max(trained, key=_figure, default=None)


@dataclass(frozen=True)
class ScoreHeadline:
    """Mean scores of base and best epoch, where they are the benchmark's figure."""

    base: MeanScore
    best: MeanScore
    change: MeanScore


@dataclass(frozen=True)
class Headline:
    """Base against best epoch on all tasks, and best epoch against the next best.

    ``detectable`` is the difference between two epochs that these tasks would show four times in five, given how many
    tasks the two best disagree on; without a second epoch there is neither.
    """

    base: Rate
    best: Rate
    best_name: str
    change: Paired
    p_adjusted: float
    epochs: int
    rival_name: str | None
    over_rival: Paired | None
    detectable: float | None
    scored: ScoreHeadline | None


def suites(results: list[EvalResult]) -> list[Suite]:
    """Groups results that may be compared; of two results for one checkpoint name the later counts."""
    groups: dict[tuple[str, str, str, int], dict[str, EvalResult]] = {}
    for result in sorted(results, key=lambda r: r.started_at):
        key = (result.benchmark.digest, result.protocol.digest, result.sampling.model_dump_json(), result.seed)
        groups.setdefault(key, {})[result.checkpoint.name] = result
    return [
        Suite(sorted(group.values(), key=lambda r: (r.checkpoint.epoch, r.checkpoint.name)))
        for group in groups.values()
    ]


def headline(suite: Suite) -> Headline | None:
    """Base against best epoch; ``None`` until both have been evaluated."""
    base, best = suite.base, suite.best
    if base is None or best is None:
        return None
    epochs = [result for result in suite.results if result.checkpoint.epoch > 0]
    changes = [_compare(base, epoch) for epoch in epochs]
    adjusted = holm([change.p_value for change in changes])
    position = epochs.index(best)
    rival = max((epoch for epoch in epochs if epoch is not best), key=_figure, default=None)
    over_rival = _compare(rival, best) if rival else None
    return Headline(
        base=_rate(base),
        best=_rate(best),
        best_name=best.checkpoint.name,
        change=changes[position],
        p_adjusted=adjusted[position],
        epochs=len(epochs),
        rival_name=rival.checkpoint.name if rival else None,
        over_rival=over_rival,
        detectable=minimum_detectable_effect(over_rival.n, over_rival.discordance) if over_rival else None,
        scored=_score_headline(base, best),
    )


def slices(suite: Suite) -> list[Slice]:
    """All tasks, then the groups, then the kinds; only rows in which every checkpoint has tasks with a verdict."""
    episodes = [episode for result in suite.results for episode in result.episodes]
    rows: list[tuple[str, str, Belongs]] = [("All tasks", "all", EVERY)]
    groups = sorted({episode.group for episode in episodes}, key=group_order)
    rows += [(group_name(group), group, having(group=group)) for group in groups]
    kinds = sorted({episode.kind for episode in episodes})
    rows += [(f"Kind: {kind}", "kind", having(kind=kind)) for kind in kinds]
    return [_slice(suite, *row) for row in rows if all(any(map(row[2], one.episodes)) for one in suite.results)]


def effort(result: EvalResult) -> Effort:
    """Cost and outcomes of one checkpoint's episodes."""
    episodes = result.episodes
    solved = [episode for episode in episodes if episode.success]
    tasks = [episode.task_id for episode in episodes]
    columns: dict[str, list[float]] = {
        "cells": [e.cells for e in episodes],
        "steps": [e.steps for e in episodes],
        "completion tokens": [e.completion_tokens for e in episodes],
        "seconds": [e.wall_s for e in episodes],
    }
    return Effort(
        checkpoint=result.checkpoint.name,
        two_cells=Rate.from_counts(sum(e.cells >= 2 for e in episodes), len(episodes)),
        solved_with_two_cells=Rate.from_counts(sum(e.cells >= 2 for e in solved), len(episodes)),
        recovered=Rate.from_counts(sum(e.recovered for e in episodes), len(episodes)),
        means={name: bootstrap_mean(v, tasks, seed=0) for name, v in columns.items()} if len(tasks) > 1 else {},
        reasons=by_reason(episode.reason for episode in episodes),
        wall_s=result.wall_s,
    )


def _slice(suite: Suite, name: str, level: str, belongs: Belongs) -> Slice:
    rates = [_rate(result, belongs) for result in suite.results]
    change = None
    if suite.base and suite.best and _pairs(suite.base, suite.best, belongs):
        change = _compare(suite.base, suite.best, belongs)
    legacy = [_legacy_rate(result, belongs) for result in suite.results]
    scores: list[MeanScore] = []
    scored = None
    if any(result.has_scores for result in suite.results):
        scores = [mean_score(result, belongs) for result in suite.results]
        scored = score_change(suite.base, suite.best, belongs) if suite.base and suite.best else None
    return Slice(name, level, rates[0].n, rates, change, legacy, scores, scored)


def _score_headline(base: EvalResult, best: EvalResult) -> ScoreHeadline | None:
    change = score_change(base, best) if best.scored else None
    return ScoreHeadline(mean_score(base), mean_score(best), change) if change is not None else None


def _figure(result: EvalResult) -> float:
    """What the benchmark reports: its mean score, or the share of solved tasks."""
    if result.scored:
        return mean_score(result).mean
    return sum(episode.success for episode in result.episodes) / len(result.episodes)


def _rate(result: EvalResult, belongs: Belongs = EVERY) -> Rate:
    chosen = [episode.success for episode in result.episodes if belongs(episode)]
    return Rate.from_counts(sum(chosen), len(chosen))


def _legacy_rate(result: EvalResult, belongs: Belongs) -> Rate | None:
    if result.legacy_solved is None:
        return None
    chosen = [bool(episode.legacy_success) for episode in result.episodes if belongs(episode)]
    return Rate.from_counts(sum(chosen), len(chosen))


def _compare(before: EvalResult, after: EvalResult, belongs: Belongs = EVERY) -> Paired:
    """Matches episodes by task; a task without a verdict in either result does not count."""
    pairs = _pairs(before, after, belongs)
    return compare_paired([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def _pairs(before: EvalResult, after: EvalResult, belongs: Belongs) -> list[tuple[bool, bool]]:
    outcome = {episode.task_id: episode.success for episode in after.episodes}
    return [(e.success, outcome[e.task_id]) for e in before.episodes if belongs(e) and e.task_id in outcome]


@dataclass(frozen=True)
class Block:
    """Tasks of one kind and group: one row for each checkpoint, with ``(solved, tooltip)`` for each task.

    ``solved`` is None for a task without a verdict.
    """

    name: str
    rows: list[tuple[str, list[tuple[bool | None, str]]]]


def by_reason(reasons: Iterable[Reason]) -> dict[str, int]:
    """Number of episodes by reason, in a fixed order, solved first."""
    counts = Counter(reasons)
    return {reason: counts[reason] for reason in get_args(Reason) if counts[reason]}


def grid(suite: Suite) -> list[Block]:
    """Every task at every checkpoint; within a block, the tasks solved most often come first."""
    outcomes = [{e.task_id: e for e in result.episodes} for result in suite.results]
    blocks: dict[tuple[tuple[int, str], str], list[str]] = {}
    known = {episode.task_id: episode for result in reversed(suite.results) for episode in result.episodes}
    for task in dict.fromkeys(episode.task_id for result in suite.results for episode in result.episodes):
        blocks.setdefault((group_order(known[task].group), known[task].kind), []).append(task)
    out = []
    for ((_, group), kind), tasks in sorted(blocks.items()):
        tasks.sort(key=lambda task: (-sum(task in o and o[task].success for o in outcomes), task))
        rows = [
            (result.checkpoint.name, [_square(task, o.get(task)) for task in tasks])
            for result, o in zip(suite.results, outcomes, strict=True)
        ]
        out.append(Block(f"{kind} · {group_name(group).lower()}", rows))
    return out


def _square(task: str, episode: EpisodeResult | None) -> tuple[bool | None, str]:
    if episode is None:
        return None, f"{task}: no verdict"
    return episode.success, f"{task}: {episode.reason.replace('_', ' ')}"
