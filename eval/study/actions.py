"""The study of action formats: success and turns of each model in code, JSON and text, with tests between formats.

Contract: results in, values and text out; nothing is measured here. Rates have Wilson's interval. Two formats are
compared on the same tasks: the difference has Tango's score interval, the p-value is that of the exact McNemar test,
adjusted by Holm's method over all pairs of formats and models of a benchmark. With several samples of a task its share
of solved episodes takes the place of its outcome: intervals are bootstrapped over tasks, and the test is the exact sign
test, which for one sample is McNemar's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from eval.paper.formulas import best_counts
from eval.results import EvalResult
from eval.stats import Interval, bootstrap_mean, compare_shares, holm, wilson
from eval.tables import Table, render_tables

FORMATS = ("code", "json", "text")
TITLES = {"code": "CodeAct", "json": "JSON", "text": "Text"}
"""Format → its heading, as in the paper."""
Place = tuple[str, str, str]
"""Model, benchmark, format."""


@dataclass(frozen=True)
class Score:
    """A model on a benchmark in one format.

    Attributes:
        solved, episodes: counts.
        success: share of solved episodes.
        turns: mean number of assistant turns of an episode; unsolved ones count with all their turns.
    """

    solved: int
    episodes: int
    success: Interval
    turns: float


@dataclass(frozen=True)
class Pair:
    """Two formats of one model on the same tasks; the difference is that of the second to the first.

    Attributes:
        gained, lost: tasks that the second format solves more, or less, often.
        p_value, p_adjusted: exact test, and after Holm's adjustment over the benchmark.
    """

    model: str
    first: str
    second: str
    gained: int
    lost: int
    difference: Interval
    p_value: float
    p_adjusted: float


@dataclass(frozen=True)
class BenchmarkStudy:
    """The formats on one benchmark.

    Attributes:
        scores: model → format → score.
        best_success, best_turns: format → number of models for which it is the best one; ties count for each.
    """

    name: str
    tasks: int
    scores: dict[str, dict[str, Score]]
    best_success: dict[str, int]
    best_turns: dict[str, int]
    pairs: list[Pair]

    @property
    def several_turns(self) -> bool:
        """Whether episodes can have more than one turn."""
        return any(score.turns != 1 for scores in self.scores.values() for score in scores.values())


@dataclass(frozen=True)
class ActionStudy:
    """The study: a part for each benchmark, and a sentence for each benchmark without data."""

    benchmarks: list[BenchmarkStudy]
    samples: int
    missing: list[str]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a program. Rates are fractions of 1."""
        return {"formats": list(FORMATS), **asdict(self)}

    def markdown(self) -> str:
        """The tables as text, in the shape of the paper's Tables 2 and 3."""
        tables = [table for one in self.benchmarks for table in (_scores_table(one, self.samples), _pairs_table(one))]
        return "\n".join([render_tables(tables, "markdown"), *(f"Not measured: {line}" for line in self.missing)])


def study_of(results: Mapping[Place, Sequence[EvalResult]], missing: Sequence[str] = ()) -> ActionStudy:
    """The study of results, one a sample.

    Args:
        results: by model, benchmark and format, in the order in which they are shown. Every model and benchmark has
            all formats.
        missing: sentences about benchmarks that were not measured.
    """
    benchmarks = list(dict.fromkeys(name for _, name, _ in results))
    models = list(dict.fromkeys(model for model, _, _ in results))
    samples = max(map(len, results.values()))
    return ActionStudy([_benchmark(name, models, results) for name in benchmarks], samples, list(missing))


def _benchmark(name: str, models: Sequence[str], results: Mapping[Place, Sequence[EvalResult]]) -> BenchmarkStudy:
    scores = {model: {form: _score(results[model, name, form]) for form in FORMATS} for model in models}
    shares = {model: {form: _shares(results[model, name, form]) for form in FORMATS} for model in models}
    compared = [(model, *pair) for model in models for pair in combinations(FORMATS, 2)]
    pairs = [_pair(model, first, second, shares[model]) for model, first, second in compared]
    adjusted = holm([pair.p_value for pair in pairs])
    success = best_counts([[scores[model][form].success.estimate for form in FORMATS] for model in models])
    turns = best_counts([[scores[model][form].turns for form in FORMATS] for model in models], lower=True)
    return BenchmarkStudy(
        name=name,
        tasks=results[models[0], name, FORMATS[0]][0].benchmark.tasks,
        scores=scores,
        best_success=dict(zip(FORMATS, success, strict=True)),
        best_turns=dict(zip(FORMATS, turns, strict=True)),
        pairs=[Pair(**vars(pair) | {"p_adjusted": p}) for pair, p in zip(pairs, adjusted, strict=True)],
    )


def _shares(results: Sequence[EvalResult]) -> dict[str, float]:
    """Task → share of its episodes that are solved."""
    outcomes: dict[str, list[bool]] = {}
    for result in results:
        for episode in result.episodes:
            outcomes.setdefault(episode.task_id, []).append(episode.success)
    return {task: fmean(solved) for task, solved in outcomes.items()}


def _score(results: Sequence[EvalResult]) -> Score:
    episodes = [episode for result in results for episode in result.episodes]
    solved = sum(episode.success for episode in episodes)
    if len(results) == 1:
        success = wilson(solved, len(episodes))
    else:
        success = bootstrap_mean([e.success for e in episodes], [e.task_id for e in episodes], seed=0)
    return Score(solved, len(episodes), success, fmean(episode.steps for episode in episodes))


def _pair(model: str, first: str, second: str, shares: Mapping[str, Mapping[str, float]]) -> Pair:
    tasks = [task for task in shares[first] if task in shares[second]]
    before, after = ([shares[form][task] for task in tasks] for form in (first, second))
    paired = compare_shares(before, after)
    return Pair(model, first, second, paired.gained, paired.lost, paired.difference, paired.p_value, paired.p_value)


def _scores_table(study: BenchmarkStudy, samples: int) -> Table:
    """The paper's table: success of each format, and turns where there are several. The best are bold."""
    turns = study.several_turns
    columns = ["Model", *(f"{TITLES[form]}, %" for form in FORMATS)]
    columns += [f"{TITLES[form]}, turns" for form in FORMATS] if turns else []
    rows = []
    for model, scores in study.scores.items():
        most = max(score.success.estimate for score in scores.values())
        least = min(score.turns for score in scores.values())
        cells = [
            _bold(f"{100 * s.success.estimate:.1f}", s.success.estimate == most) + f" ({_span(s.success)})"
            for s in scores.values()
        ]
        cells += [_bold(f"{s.turns:.1f}", s.turns == least) for s in scores.values()] if turns else []
        rows.append((model, *cells))
    counts = [*study.best_success.values(), *(study.best_turns.values() if turns else ())]
    rows.append(("models for which it is best", *map(str, counts)))
    each = f", {samples} episodes each" if samples > 1 else ""
    return Table(
        f"{study.name}: {study.tasks} tasks{each}",
        tuple(columns),
        tuple(rows),
        ("Percentages have a 95 % interval. Of formats that tie for the best, each is bold and counts.",),
    )


def _pairs_table(study: BenchmarkStudy) -> Table:
    rows = [
        (
            pair.model,
            f"{TITLES[pair.first]} → {TITLES[pair.second]}",
            f"{100 * pair.difference.estimate:+.1f} ({100 * pair.difference.low:+.1f} to "
            f"{100 * pair.difference.high:+.1f})",
            f"{pair.gained}",
            f"{pair.lost}",
            f"{pair.p_value:.3g}",
            f"{pair.p_adjusted:.3g}",
        )
        for pair in study.pairs
    ]
    note = "Paired by task: exact McNemar test; Holm's adjustment over all rows of this table."
    columns = ("Model", "formats", "change, points", "gained", "lost", "p", "p (Holm)")
    return Table(f"{study.name}: formats compared", columns, tuple(rows), (note,))


def _bold(text: str, best: bool) -> str:
    return f"**{text}**" if best else text


def _span(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"
