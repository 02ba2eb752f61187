"""The published results and what follows from them: which aggregates the formulas repeat, and which not, and why."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.paper import published
from eval.paper.formulas import MT_BENCH, best_counts, micro_average, overall, slope
from eval.paper.published import ScoreRow, ScoreTable
from eval.paper.tables import format_counts, paper_tables
from launch.cli import app
from tests.helpers.results import measured, run_with

MINT = published.mint()
ID, OD = MINT.in_domain, MINT.out_of_domain
TOTALS = {"gpt-4-0613": (190, 217), "gpt-3.5-turbo-0613": (94, 118), "Mistral-7B Instruct": (52, 30)}
"""Solved tasks in and out of domain that give the two-decimal averages 68.59/70.23, 33.94/38.19 and 18.77/9.71."""
NOT_REPEATED = {
    "Llama-2-7B chat": (21.1, 21.2),
    "CodeActAgent (Mistral)": (42.5, 42.6),
    "gpt-3.5-turbo-0613": (54.0, 53.9),
    "Llama-2, without CodeActInstruct": (34.5, 34.4),
    "Llama-2, without general conversations": (22.9, 23.0),
    "CodeActAgent (Mistral), ablation": (46.8, 46.9),
}
"""Published overall scores that differ from the ones their columns give, rounded to one decimal. The columns are
rounded themselves: MT-Bench, taken times ten, can be off by 0.5, that is, by 0.06 of the mean of eight columns."""


def rows() -> list[tuple[ScoreTable, ScoreRow]]:
    tables = [published.codeactagent(), published.ablation()]
    return [(table, row) for table in tables for row in table.models if row.overall is not None]


def computed(table: ScoreTable, row: ScoreRow) -> float:
    found = overall(dict(zip(table.columns, row.scores, strict=True)), table.averaged)
    assert found is not None
    return found


def test_mint_has_277_tasks_in_the_domain_and_309_out_of_it() -> None:
    assert sum(MINT.sets[name] for name in ID) == 277 and sum(MINT.sets[name] for name in OD) == 309


@pytest.mark.parametrize("row", [row for row in MINT.models if row.solved], ids=lambda row: row.name)
def test_the_averages_of_mint_follow_from_the_counts(row: published.MintRow) -> None:
    assert row.solved is not None and row.success_by_k is not None
    assert micro_average(row.solved, MINT.sets, ID) == pytest.approx(row.id, abs=0.1)
    assert micro_average(row.solved, MINT.sets, OD) == pytest.approx(row.od, abs=0.1)
    assert micro_average(row.solved, MINT.sets, MINT.sets) == pytest.approx(row.success_by_k[-1], abs=0.005)


@pytest.mark.parametrize("row", [row for row in MINT.models if not row.solved], ids=lambda row: row.name)
def test_averages_without_counts_are_shares_of_whole_tasks(row: published.MintRow) -> None:
    """Counts of each set are not published for these models, so only the sums can be checked."""
    solved_id, solved_od = TOTALS[row.name]
    assert micro_average({"id": solved_id}, {"id": 277}, ["id"]) == pytest.approx(row.id, abs=0.1)
    assert micro_average({"od": solved_od}, {"od": 309}, ["od"]) == pytest.approx(row.od, abs=0.1)


def test_the_averages_of_table_5_are_those_of_mint() -> None:
    table = published.codeactagent()
    by_name = {row.name: row.scores[:2] for row in table.models}
    assert {row.name: (row.id, row.od) for row in MINT.models}.items() <= by_name.items()


def test_the_slope_is_that_of_least_squares() -> None:
    for row in MINT.models:
        if row.success_by_k:
            assert slope(row.success_by_k) == pytest.approx(np.polyfit(range(1, 6), row.success_by_k, 1)[0])
    assert slope([3.24, 26.45, 35.15, 42.32, 44.20]) == pytest.approx(9.78, abs=0.005)


@pytest.mark.parametrize(("table", "row"), rows(), ids=lambda one: getattr(one, "name", "in"))
def test_the_overall_score_is_the_mean_of_the_columns(table: ScoreTable, row: ScoreRow) -> None:
    """Within what the rounding of the published columns leaves open, and always within 0.1."""
    assert row.overall is not None
    found = computed(table, row)
    possible = 0.05 + sum(0.05 * (10 if name == MT_BENCH else 1) for name in table.averaged) / len(table.averaged)
    assert abs(found - row.overall) <= possible
    assert found == pytest.approx(row.overall, abs=0.1 + 1e-9)
    name = f"{row.name}, ablation" if table is published.ablation() and "(" in row.name else row.name
    assert (row.overall, round(found, 1)) == NOT_REPEATED.get(name, (row.overall, row.overall))


def test_table_5_averages_eight_columns_and_the_ablation_seven() -> None:
    assert len(published.codeactagent().averaged) == 8
    assert set(published.codeactagent().averaged) - set(published.ablation().averaged) == {"m3tooleval"}
    assert overall({"mint_od": 1.0}, ["mint_od", "mmlu"]) is None


def test_the_best_format_is_counted_as_published() -> None:
    api_bank, m3tooleval = format_counts(published.api_bank()), format_counts(published.m3tooleval())
    assert {name: counts for name, (counts, _) in api_bank.items()} == published.api_bank().best
    assert m3tooleval["all"] == ((12, 5, 4), (12, 3, 2))
    assert m3tooleval["all"] == (published.m3tooleval().best["all"], published.m3tooleval().best_turns["all"])
    assert sum(m3tooleval["all"][0]) == 21, "two of the 17 rows tie in all three formats"
    assert best_counts([]) == ()


def counts_of(name: str) -> dict[str, tuple[int, int]]:
    row = next(row for row in MINT.models if row.name == name)
    assert row.solved is not None
    return {one: (row.solved[one], tasks) for one, tasks in MINT.sets.items()}


def test_a_run_gets_rows_where_it_was_measured_on_the_papers_benchmarks(tmp_path: Path) -> None:
    counts = counts_of("CodeActAgent (Mistral)")
    run = run_with(
        tmp_path / "mine",
        measured("mint", counts, "mint"),
        measured("mint-k1", {name: (0, tasks) for name, (_, tasks) in counts.items()}, "mint-k1"),
        measured("m3tooleval", {"web": (10, 82)}, "m3tooleval"),
        measured("m3tooleval-json", {"web": (4, 82)}, "m3tooleval-json", steps=7),
        measured("gsm8k", {"gsm8k": (30, 60)}, "tools"),
    )
    tables = {table.title.partition(":")[0]: table for table in paper_tables([run])}
    (three,) = [row for row in tables["Table 3"].rows if row[0] == "mine: epoch-1"]
    assert three == (
        "mine: epoch-1",
        pytest.approx(12.195, abs=0.001),
        pytest.approx(4.878, abs=0.001),
        None,
        3,
        7,
        None,
    )
    (five,) = [row for row in tables["Table 5"].rows if row[0] == "mine: epoch-1"]
    assert five[1:4] == (pytest.approx(57.4, abs=0.1), pytest.approx(32.4, abs=0.1), pytest.approx(12.2, abs=0.1))
    assert set(five[4:]) == {None}, "no overall score without all eight columns"
    (mint,) = [row for row in tables["MINT"].rows if row[0] == "mine: epoch-1"]
    assert (
        mint[1:9] == (110, 32, 17, 29, 39, 10, 11, 11) and mint[13] == 0.0 and mint[17] == pytest.approx(44.2, abs=0.05)
    )
    assert mint[14] is None and mint[18] is None, "no slope without all five"
    assert not [row for row in tables["Table 2"].rows if row[0] == "mine: epoch-1"]
    assert "measured on 60 tasks, in the paper on 1,319" in str(tables["Results that are in no table"].rows)


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "json"])
def test_the_verb_prints_the_tables(form: str) -> None:
    shown = CliRunner().invoke(app, ["benchmarks", "paper", "--format", form])
    assert shown.exit_code == 0, shown.output
    assert "CodeActAgent (Mistral)" in shown.output and "42.5" in shown.output
    if form == "json":
        assert len(json.loads(shown.output)) == 5


def test_a_folder_without_results_is_one_sentence(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["benchmarks", "paper", str(tmp_path)])
    assert refused.exit_code == 2 and "there are no results" in refused.output and "codeact evaluate" in refused.output


def test_verdicts_of_the_reference_have_a_row_of_their_own(tmp_path: Path) -> None:
    whole = measured("m3tooleval", {"web": (41, 82)}, "m3tooleval")
    judged = [one.model_copy(update={"legacy_success": number < 8}) for number, one in enumerate(whole.episodes)]
    run = run_with(tmp_path / "mine", whole.model_copy(update={"episodes": tuple(judged)}))
    (three,) = [table for table in paper_tables([run]) if table.title.startswith("Table 3")]
    shown = {row[0]: row[1] for row in three.rows if str(row[0]).startswith("mine")}
    assert shown == {"mine: epoch-1": 50.0, "mine: epoch-1, by the reference's rules": pytest.approx(9.756, abs=0.001)}
