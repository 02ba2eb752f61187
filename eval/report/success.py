"""Success rates of the checkpoints and the confidence in them: the figures of the report.

Contract: results are compared only within a :class:`Suite`, that is, with the same benchmark, protocol, sampling, seed
and judge, and so on the same tasks under the same rules. Rates, changes against the base and their intervals are those
of :mod:`eval.report.rates`; p-values are adjusted (Holm) for the number of epochs. The best epoch is chosen on the
tasks that it is reported on, so its rate is biased upwards a little; the report says so. This module does not render.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from eval.pass_at_k import PassAtK, pass_of, shown_ks
from eval.report.rates import Rate, compare, have_common_tasks, rate_of, shares_of
from eval.results import EpisodeResult, EvalResult
from eval.scores import Belongs, MeanScore, figure_of, mean_score, score_change
from eval.stats import Interval, Paired, bootstrap_mean, holm, minimum_detectable_effect
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
class Slice:
    """One row of the success table: some of the tasks, their rate at each checkpoint, the change to the best epoch.

    ``legacy`` are the rates by the reference system's rules, None for a checkpoint that they did not judge. ``scores``
    are mean scores, empty where they say no more than success. ``passes`` are the pass@k of each checkpoint,
    by the k of :func:`eval.pass_at_k.shown_ks`.
    """

    name: str
    level: str
    n: int
    rates: list[Rate]
    change: Paired | None
    legacy: list[Rate | None]
    scores: list[MeanScore]
    score_change: MeanScore | None
    passes: list[list[PassAtK | None]]


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
        return max(trained, key=figure_of, default=None)


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
    groups: dict[tuple[str, str, str, int, int, str | None], dict[str, EvalResult]] = {}
    for result in sorted(results, key=lambda r: r.started_at):
        benchmark, sampling = result.benchmark, result.sampling.model_dump_json()
        key = (benchmark.digest, result.protocol.digest, sampling, result.seed, benchmark.samples, result.judge)
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
    changes = [compare(base.episodes, epoch.episodes) for epoch in epochs]
    adjusted = holm([change.p_value for change in changes])
    position = epochs.index(best)
    rival = max((epoch for epoch in epochs if epoch is not best), key=figure_of, default=None)
    over_rival = compare(rival.episodes, best.episodes) if rival else None
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
    tasks = [episode.task_id for episode in episodes]
    columns: dict[str, list[float]] = {
        "cells": [e.cells for e in episodes],
        "steps": [e.steps for e in episodes],
        "completion tokens": [e.completion_tokens for e in episodes],
        "seconds": [e.wall_s for e in episodes],
    }
    return Effort(
        checkpoint=result.checkpoint.name,
        two_cells=rate_of(episodes, lambda e: e.cells >= 2),
        solved_with_two_cells=rate_of(episodes, lambda e: e.success and e.cells >= 2),
        recovered=rate_of(episodes, lambda e: e.recovered),
        means={name: bootstrap_mean(v, tasks, seed=0) for name, v in columns.items()} if len(set(tasks)) > 1 else {},
        reasons=by_reason(episode.reason for episode in episodes),
        wall_s=result.wall_s,
    )


def _slice(suite: Suite, name: str, level: str, belongs: Belongs) -> Slice:
    rates = [_rate(result, belongs) for result in suite.results]
    change = None
    if suite.base and suite.best:
        earlier = list(filter(belongs, suite.base.episodes))
        change = compare(earlier, suite.best.episodes) if have_common_tasks(earlier, suite.best.episodes) else None
    legacy = [_legacy_rate(result, belongs) for result in suite.results]
    scores: list[MeanScore] = []
    scored = None
    if any(result.has_scores for result in suite.results):
        scores = [mean_score(result, belongs) for result in suite.results]
        scored = score_change(suite.base, suite.best, belongs) if suite.base and suite.best else None
    tasks = {episode.task_id for episode in filter(belongs, suite.results[0].episodes)}
    passes = [[pass_of(result, k, belongs) for k in shown_ks(result.benchmark.samples)] for result in suite.results]
    return Slice(name, level, len(tasks), rates, change, legacy, scores, scored, passes)


def _score_headline(base: EvalResult, best: EvalResult) -> ScoreHeadline | None:
    change = score_change(base, best) if best.scored else None
    return ScoreHeadline(mean_score(base), mean_score(best), change) if change is not None else None


def _rate(result: EvalResult, belongs: Belongs = EVERY) -> Rate:
    return rate_of(list(filter(belongs, result.episodes)))


def _legacy_rate(result: EvalResult, belongs: Belongs) -> Rate | None:
    if result.legacy_solved is None:
        return None
    return rate_of(list(filter(belongs, result.episodes)), lambda episode: bool(episode.legacy_success))


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
    outcomes = [_by_task(result) for result in suite.results]
    shares = [shares_of(result.episodes) for result in suite.results]
    blocks: dict[tuple[tuple[int, str], str], list[str]] = {}
    known = {episode.task_id: episode for result in reversed(suite.results) for episode in result.episodes}
    for task in dict.fromkeys(episode.task_id for result in suite.results for episode in result.episodes):
        blocks.setdefault((group_order(known[task].group), known[task].kind), []).append(task)
    out = []
    for ((_, group), kind), tasks in sorted(blocks.items()):
        tasks.sort(key=lambda task: (-sum(share.get(task, 0.0) for share in shares), task))
        rows = [
            (result.checkpoint.name, [_square(task, o.get(task, [])) for task in tasks])
            for result, o in zip(suite.results, outcomes, strict=True)
        ]
        out.append(Block(f"{kind} · {group_name(group).lower()}", rows))
    return out


def _by_task(result: EvalResult) -> dict[str, list[EpisodeResult]]:
    """Task → its episodes."""
    found: dict[str, list[EpisodeResult]] = {}
    for episode in result.episodes:
        found.setdefault(episode.task_id, []).append(episode)
    return found


def _square(task: str, episodes: list[EpisodeResult]) -> tuple[bool | None, str]:
    """Whether at least half of the episodes are solved, and what happened."""
    if not episodes:
        return None, f"{task}: no verdict"
    if len(episodes) == 1:
        return episodes[0].success, f"{task}: {episodes[0].reason.replace('_', ' ')}"
    solved = sum(episode.success for episode in episodes)
    return 2 * solved >= len(episodes), f"{task}: {solved} of {len(episodes)} solved"
