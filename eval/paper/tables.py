"""The paper's tables, each with the published rows, the aggregates computed from them, and rows of runs.

Contract: published numbers are shown as published. What follows from them by a formula of
:mod:`eval.paper.formulas` stands in a column or row that says ``computed``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.paper import published
from eval.paper.formulas import best_counts, micro_average, overall, slope
from eval.paper.measured import FORMATS, MeasuredModel, MintCounts, measured_models
from eval.paper.published import Counts, FormatTable, MintTable, ScoreTable
from eval.tables import Cell, Table

HEADINGS = {
    "mint_id": "MINT-ID",
    "mint_od": "MINT-OD",
    "m3tooleval": "M3ToolEval",
    "miniwob": "MiniWob++",
    "scienceworld": "ScienceWorld",
    "mmlu": "MMLU",
    "humaneval": "HumanEval",
    "gsm8k": "GSM8K",
    "mt_bench": "MT-Bench",
}
MOST_TURNS = 5
"""MINT is measured with k = 1 to 5 turns."""


def paper_tables(runs: Sequence[Path] = ()) -> list[Table]:
    """Tables 2, 3, 5, A.8 and MINT's counts, with the checkpoints of runs below the published models.

    Args:
        runs: run folders; each of their checkpoints that was measured on a benchmark of the paper gets a row.

    Raises:
        ValueError: a run has no results, or a file of it is damaged.
    """
    models, left_out = measured_models(runs)
    tables = [
        format_table(published.api_bank(), models),
        format_table(published.m3tooleval(), models),
        score_table(published.codeactagent(), models),
        score_table(published.ablation(), models),
        mint_table(published.mint(), models),
    ]
    if left_out:
        tables.append(Table("Results that are in no table", ("result",), tuple((note,) for note in left_out)))
    return tables


def format_table(table: FormatTable, models: Sequence[MeasuredModel]) -> Table:
    """Table 2 or 3: a row a model, a column a format, then for how many models each format is the best."""
    with_turns = any(row.turns for row in table.models)
    columns = ["Model", *table.formats, *([f"{name}, turns" for name in table.formats] if with_turns else [])]
    rows: list[tuple[Cell, ...]] = [(row.name, *row.success, *(row.turns or ())) for row in table.models]
    for model in models:
        success = [model.figure(table.benchmark, end) for end in FORMATS]
        turns = [model.turns(table.benchmark, end) for end in FORMATS] if with_turns else []
        if any(value is not None for value in success):
            rows.append((model.name, *success, *turns))
    notes = [f"Source: {table.source}."]
    for group, (success_counts, turn_counts) in format_counts(table).items():
        rows.append((f"best format, {group} models (computed)", *success_counts, *turn_counts))
        if published_counts := table.best.get(group):
            notes.append(_agreement(f"Best formats of {group} models", published_counts, success_counts))
        if published_counts := table.best_turns.get(group):
            notes.append(_agreement(f"Fewest turns of {group} models", published_counts, turn_counts))
    return Table(table.title, tuple(columns), tuple(rows), tuple(notes))


def format_counts(table: FormatTable) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """``open``, ``closed`` and ``all`` models → counts of the best format by success, and by turns where there are."""
    groups = {
        "open": [row for row in table.models if row.open],
        "closed": [row for row in table.models if not row.open],
        "all": list(table.models),
    }
    return {
        name: (
            best_counts([row.success for row in rows]),
            best_counts([row.turns for row in rows if row.turns], lower=True),
        )
        for name, rows in groups.items()
    }


def _agreement(what: str, published_counts: Counts, computed: Sequence[int]) -> str:
    said = "/".join(map(str, published_counts))
    found = "/".join(map(str, computed))
    return f"{what}: published {said}, computed {found}; formats that tie for the best all count."


def score_table(table: ScoreTable, models: Sequence[MeasuredModel]) -> Table:
    """Table 5 or A.8: a row a model, with the published overall score and the one that its columns give."""
    columns = ("Model", *(HEADINGS[name] for name in table.columns), "Overall", "Overall, computed")
    rows: list[tuple[Cell, ...]] = [
        (row.name, *row.scores, row.overall, overall(dict(zip(table.columns, row.scores, strict=True)), table.averaged))
        for row in table.models
    ]
    for model in models:
        scores = measured_scores(model)
        if scores:
            values = [scores.get(column) for column in table.columns]
            rows.append((model.name, *values, None, overall(scores, table.averaged)))
    averaged = ", ".join(HEADINGS[name] for name in table.averaged)
    notes = (
        f"Source: {table.source}.",
        f"Overall: the mean of {averaged}, MT-Bench times ten. Its columns are published with one decimal, so the "
        "computed value may differ from the published one by 0.1.",
    )
    return Table(table.title, columns, tuple(rows), notes)


def measured_scores(model: MeasuredModel) -> dict[str, float]:
    """Column of Table 5 → the model's percentage, for the columns that it was measured on."""
    table = published.mint()
    scores = {name: model.figure(name, "") for name in HEADINGS if not name.startswith("mint_")}
    if (in_text := model.figure("scienceworld", "-text")) is not None:  # the paper's actions
        scores["scienceworld"] = in_text
    if (counts := model.mint(MOST_TURNS)) is not None:
        scores["mint_id"] = micro_average(counts.solved, counts.tasks, table.in_domain)
        scores["mint_od"] = micro_average(counts.solved, counts.tasks, table.out_of_domain)
    return {name: score for name, score in scores.items() if score is not None}


def mint_table(table: MintTable, models: Sequence[MeasuredModel]) -> Table:
    """MINT: solved tasks of each set, the averages in and out of domain, and success against the number of turns."""
    turns = range(1, MOST_TURNS + 1)
    columns = (
        "Model", *(f"{name} ({tasks})" for name, tasks in table.sets.items()), "ID", "OD", "ID, computed",
        "OD, computed", *(f"k={k}" for k in turns), "slope",
    )  # fmt: skip
    rows = [
        _mint_row(
            table,
            row.name,
            (row.id, row.od),
            MintCounts(row.solved, table.sets) if row.solved else None,
            row.success_by_k or (None,) * MOST_TURNS,
        )
        for row in table.models
    ]
    for model in models:
        by_k = [model.mint(k) for k in turns]
        if any(by_k):
            rates = [micro_average(one.solved, one.tasks, table.sets) if one else None for one in by_k]
            rows.append(_mint_row(table, model.name, (None, None), by_k[-1], rates))
    notes = (
        f"Source: {table.source}.",
        "ID and OD are averages over tasks. Of models without counts, only the published averages are known.",
        "slope: least squares of the success rate against k, in points a turn.",
    )
    return Table(table.title, columns, tuple(rows), notes)


def _mint_row(
    table: MintTable,
    name: str,
    said: tuple[float | None, float | None],
    counts: MintCounts | None,
    rates: Sequence[float | None],
) -> tuple[Cell, ...]:
    computed: tuple[float | None, float | None] = (None, None)
    if counts is not None:
        computed = (
            micro_average(counts.solved, counts.tasks, table.in_domain),
            micro_average(counts.solved, counts.tasks, table.out_of_domain),
        )
    solved = [counts.solved.get(one, 0) if counts else None for one in table.sets]
    known = [rate for rate in rates if rate is not None]
    steep = slope(known) if len(known) == MOST_TURNS else None
    return (name, *solved, *said, *computed, *rates, steep)
