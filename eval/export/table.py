"""The results of a run as one table: a line for each checkpoint, benchmark and group of tasks."""

from __future__ import annotations

from eval.export.source import MeasuredRun
from eval.report.success import slices, suites
from eval.tables import Cell, Table

COLUMNS = (
    "checkpoint", "benchmark", "protocol", "tasks", "n", "solved", "success, %", "from", "to", "reference's rules, %",
    "seed",
)  # fmt: skip


def results_table(run: MeasuredRun) -> Table:
    """All tasks, then groups, then kinds, as in the report. ``from`` and ``to`` are Wilson's interval at 95 %."""
    rows: list[tuple[Cell, ...]] = []
    for suite in suites([result for result, _ in run.results]):
        for row in slices(suite):
            for result, rate, legacy in zip(suite.results, row.rates, row.legacy, strict=True):
                interval = rate.interval
                shares = [100 * value for value in (interval.estimate, interval.low, interval.high)]
                by_reference = None if legacy is None else 100 * legacy.interval.estimate
                rows.append(
                    (result.checkpoint.name, result.benchmark.name, result.protocol.name, row.name, rate.n, rate.solved,
                     *shares, by_reference, result.seed)
                )  # fmt: skip
    notes = ("Intervals: Wilson, 95 %. The reference's rules are the paper's graders, where they judged, too.",)
    return Table(f"Results of {run.name}", COLUMNS, tuple(rows), notes)
