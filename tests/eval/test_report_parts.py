"""What stands behind the page: choice of transcripts, tokens read back from the corpus, chart geometry."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report.charts import HEIGHT, WIDTH, Series, line_chart, smoothed, thinned
from eval.report.corpus import documents
from eval.report.run import read_run
from eval.report.success import headline, slices, suites
from eval.report.transcripts import MESSAGE_CHARS, comparisons, highlighted
from eval.results import write_result
from rollout.bank.store import read_trajectories


def test_trained_tokens_are_exactly_what_the_assistant_said(whole_run: Path) -> None:
    bank = {one.id: one for one in read_trajectories(whole_run / "bank")}
    views = documents(whole_run / "corpus", quantiles=(0.0, 0.5, 1.0))
    assert len(views) == 3 and views[0].tokens < views[2].tokens
    for view in views:
        messages = bank[view.record_id].messages
        said = [f"{message.content}<|im_end|>" for message in messages if message.role == "assistant"]
        assert [span.text for span in view.spans if span.trained] == said
        assert {span.role for span in view.spans if span.trained} == {"assistant"}
        assert "".join(span.text for span in view.spans).startswith("<|im_start|>system\n")
        assert sum(span.tokens for span in view.spans) == view.tokens


def test_a_file_that_is_no_index_is_named(whole_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for source in (whole_run / "corpus").iterdir():
        if source.is_file():
            (folder / source.name).write_bytes(source.read_bytes())
    (folder / "roles.idx").write_bytes(b"something else entirely")
    with pytest.raises(ValueError, match=r"roles\.idx is not the index of a Megatron dataset"):
        documents(folder)


def test_shown_tasks_follow_the_rule(whole_run: Path) -> None:
    run = read_run(whole_run)
    (suite,) = suites(run.results)
    shown = comparisons(suite, run.transcripts)
    assert 6 <= len(shown) <= 8 and len({one.task_id for one in shown}) == len(shown)
    for one in shown:
        base, best = one.sides
        assert base.checkpoint == "base" and suite.best and best.checkpoint == suite.best.checkpoint.name
        assert base.record.task.id == best.record.task.id == one.task_id
    solved = [one for one in shown if one.sides[1].record.outcome.success]
    assert {one.kind for one in solved if one.group == "trained"} == {"math", "sql", "table", "tool"}
    assert {"unseen_wording", "unseen_tool"} <= {one.group for one in solved}
    assert len(shown) - len(solved) == 2
    assert any(one.sides[1].record.usage.error_cells for one in solved)


def test_a_missing_transcript_is_not_shown_and_not_fatal(whole_run: Path) -> None:
    run = read_run(whole_run)
    (suite,) = suites(run.results)
    kept = {key: record for key, record in run.transcripts.items() if record.task.kind == "sql"}
    assert {one.kind for one in comparisons(suite, kept)} == {"sql"}
    assert comparisons(suite, {}) == []


def test_a_turn_is_cut_where_the_page_says_so(whole_run: Path) -> None:
    run = read_run(whole_run)
    (suite,) = suites(run.results)
    first = next(iter(comparisons(suite, run.transcripts)))
    record = first.sides[1].record
    long = record.messages[3].model_copy(update={"content": "x" * (MESSAGE_CHARS + 7)})
    changed = record.model_copy(update={"messages": (*record.messages[:3], long)})
    again = next(iter(comparisons(suite, run.transcripts | {record.id: changed})))
    assert again.sides[1].turns[-1].segments[0].text.endswith("[7 more characters are in the bank]")


@given(st.text(max_size=60))
def test_highlighted_code_holds_only_pygments_tags(code: str) -> None:
    html = str(highlighted(code))
    rest = html.replace("</span>", "")
    while '<span class="' in rest:
        before, _, after = rest.partition('<span class="')
        name, _, tail = after.partition('">')
        assert name.replace(" ", "").isalnum()
        rest = before + tail
    assert "<" not in rest and ">" not in rest


def test_only_like_is_compared_with_like(whole_run: Path, tmp_path: Path) -> None:
    run = read_run(whole_run)
    results = run.results
    other_seed = [result.model_copy(update={"seed": 1}) for result in results[:1]]
    newer = results[2].model_copy(
        update={
            "checkpoint": results[2].checkpoint.model_copy(update={"digest": "retrained"}),
            "started_at": "2027-01-01T00:00:00+00:00",
        }
    )
    for result in (*results, *other_seed, newer):
        write_result(tmp_path / "eval" / "results", result)
    first, second = suites(read_run(tmp_path).results)
    assert [r.checkpoint.name for r in first.results] == ["base", "epoch-1", "epoch-2"]
    assert first.results[2].checkpoint.digest == "retrained"
    assert len(second.results) == 1 and headline(second) is None


def test_slices_cover_all_tasks_twice_over(whole_run: Path) -> None:
    (suite,) = suites(read_run(whole_run).results)
    rows = slices(suite)
    groups = [row for row in rows if row.level not in ("all", "kind")]
    kinds = [row for row in rows if row.level == "kind"]
    for position in range(3):
        total = rows[0].rates[position].solved
        assert sum(row.rates[position].solved for row in groups) == total
        assert sum(row.rates[position].solved for row in kinds) == total
    assert sum(row.n for row in groups) == sum(row.n for row in kinds) == rows[0].n == 40


numbers = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_no_point_leaves_the_chart(points: list[tuple[float, float]]) -> None:
    series = Series("one", "c-1", [p[0] for p in points], [p[1] for p in points], markers=True)
    chart = line_chart("title", [series], x_label="")
    for x, y, *_ in chart.lines[0].marks:
        assert chart.left - 0.01 <= x <= chart.right + 0.01 <= WIDTH
        assert chart.top - 0.01 <= y <= chart.bottom + 0.01 <= HEIGHT


def test_an_empty_chart_is_refused() -> None:
    with pytest.raises(ValueError, match="no points"):
        line_chart("loss", [], x_label="")


@given(st.lists(st.floats(0, 10), min_size=1, max_size=300), st.integers(2, 40))
def test_thinning_keeps_the_ends_and_smoothing_the_range(values: list[float], at_most: int) -> None:
    kept = thinned(values, at_most)
    assert len(kept) <= at_most or len(kept) == len(values)
    assert kept[0] == 0 and kept[-1] == len(values) - 1
    assert min(values) - 1e-9 <= min(smoothed(values)) <= max(smoothed(values)) <= max(values) + 1e-9


def test_metrics_are_read_as_written(whole_run: Path) -> None:
    lines = (whole_run / "train" / "metrics.jsonl").read_text().splitlines()
    assert read_run(whole_run).metrics == [json.loads(line) for line in lines]
