"""The results of a run as one table: a line for each checkpoint, benchmark and group of tasks."""

from __future__ import annotations

from collections.abc import Sequence

from eval.export.source import MeasuredRun
from eval.pass_at_k import PassAtK, shown_ks
from eval.report.success import slices, suites
from eval.scores import MeanScore
from eval.tables import Cell, Table

COLUMNS = (
    "checkpoint", "benchmark", "protocol", "tasks", "n", "solved", "success, %", "from", "to", "reference's rules, %",
    "seed",
)  # fmt: skip
SCORE_COLUMNS = ("score", "score from", "score to")
"""Further columns of a run in which a benchmark has scores."""


def results_table(run: MeasuredRun) -> Table:
    """All tasks, then groups, then kinds, as in the report. ``from`` and ``to`` are the interval at 95 %."""
    results = [result for result, _ in run.results]
    with_scores = any(result.has_scores for result in results)
    ks = sorted({k for result in results for k in shown_ks(result.benchmark.samples)})
    rows: list[tuple[Cell, ...]] = []
    for suite in suites(results):
        for row in slices(suite):
            for index, (result, rate, legacy) in enumerate(zip(suite.results, row.rates, row.legacy, strict=True)):
                interval = rate.interval
                shares = [100 * value for value in (interval.estimate, interval.low, interval.high)]
                by_reference = None if legacy is None else 100 * legacy.interval.estimate
                score = _score_cells(row.scores[index] if row.scores else None) if with_scores else ()
                rows.append(
                    (result.checkpoint.name, result.benchmark.name, result.protocol.name, row.name, rate.n, rate.solved,
                     *shares, by_reference, result.seed, *score, *_pass_cells(row.passes[index], ks))
                )  # fmt: skip
    notes = ["Intervals: Wilson, 95 %. The reference's rules are the paper's graders, where they judged, too."]
    if with_scores:
        notes.append("Scores: the mean on the benchmark's scale with a bootstrap interval, 95 %.")
    if ks:
        notes.append(
            "n and solved count episodes. Where a task has several, intervals are bootstrapped over tasks; pass@k is "
            "the unbiased estimator, in percent."
        )
    passes = [name for k in ks for name in (f"pass@{k}", f"pass@{k} from", f"pass@{k} to")]
    columns = (*COLUMNS, *(SCORE_COLUMNS if with_scores else ()), *passes)
    return Table(f"Results of {run.name}", columns, tuple(rows), tuple(notes))


def _pass_cells(passes: Sequence[PassAtK | None], ks: Sequence[int]) -> list[float | None]:
    """Each pass@k with its interval, in percent."""
    found = {one.k: one for one in passes if one is not None}
    cells: list[float | None] = []
    for k in ks:
        one = found.get(k)
        interval = one.interval if one else None
        cells.append(100 * one.estimate if one else None)
        cells += [100 * interval.low, 100 * interval.high] if interval else [None, None]
    return cells


def _score_cells(score: MeanScore | None) -> tuple[float | None, ...]:
    if score is None:
        return (None, None, None)
    interval = score.interval
    return (score.mean, interval.low if interval else None, interval.high if interval else None)
