"""The report: whole, self-contained, honest about what is missing, and closed to what models write."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from eval.report import terminal_report, write_report
from eval.results import read_results
from eval.stats import compare_paired, wilson

VOID = {"meta", "link", "br", "path", "rect", "circle", "polyline", "img", "input", "hr"}
HOSTILE = "\"'></td></script><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on a tag closed out of turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data


def page_of(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def words(text: str) -> str:
    """Text with every kind of white space made one blank."""
    return re.sub(r"\s+", " ", text)


@pytest.fixture
def run_copy(whole_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


def test_the_page_needs_nothing_but_itself(whole_run: Path) -> None:
    page = page_of(whole_run)
    for tag, attributes in page.tags:
        assert tag not in ("img", "iframe", "object", "embed"), tag
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("#", "data:")), (tag, value)
        assert not any(name.startswith("on") for name in attributes)
    html = (whole_run / "report.html").read_text()
    assert "url(" not in html and "@import" not in html
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = {(a.get("href") or "")[1:] for tag, a in page.tags if tag == "a"}
    assert links and links <= targets
    filters = [attributes for _, attributes in page.tags if attributes.get("class") == "filters"]
    assert filters and all("hidden" in attributes for attributes in filters), "filters only appear with JavaScript"


def test_the_headline_is_what_the_results_say(whole_run: Path) -> None:
    results = read_results(whole_run / "eval" / "results")
    base = [episode.success for episode in results[0].episodes]
    best = max(results[1:], key=lambda r: sum(e.success for e in r.episodes))
    order = {episode.task_id: episode.success for episode in best.episodes}
    after = [order[episode.task_id] for episode in results[0].episodes]
    rate, paired = wilson(sum(after), len(after)), compare_paired(base, after)
    html, markdown = words(page_of(whole_run).text), words((whole_run / "report.md").read_text())
    for text in (html, markdown):
        assert f"{100 * rate.estimate:.1f} %" in text
        assert f"{100 * rate.low:.1f}–{100 * rate.high:.1f}" in text
        assert f"{100 * paired.difference.estimate:+.1f} points" in text
    assert f"{sum(after)} of {len(after)}" in html
    assert f"{paired.gained} gained, {paired.lost} lost" in html
    for heading in ("Trained kinds", "Unseen wording", "Unseen tool", "Kind: sql", "solved after an error"):
        assert heading in html and heading in markdown


def test_throughput_is_totals_over_totals(whole_run: Path) -> None:
    lines = [json.loads(line) for line in (whole_run / "train" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    seconds = sum(step["step_s"] for step in steps)
    text = words(page_of(whole_run).text) + words((whole_run / "report.md").read_text())
    for key in ("slots", "real_tokens", "trained_tokens"):
        assert f"{sum(step[key] for step in steps) / seconds:.1f}" in text


def test_what_a_model_wrote_stays_text(whole_run: Path) -> None:
    page = page_of(whole_run)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "</script><script>alert('no')</script>" in page.text


def hostile(value: Any) -> Any:
    """``value`` with every free text replaced by an attack; keys and closed vocabularies stay."""
    if isinstance(value, dict):
        free = ("content", "model", "task_id", "id", "name", "message", "isolation", "source", "command", "path")
        return {k: HOSTILE if k in free and isinstance(v, str) else hostile(v) for k, v in value.items()}
    return [hostile(item) for item in value] if isinstance(value, list) else value


def test_no_field_of_any_file_breaks_out_of_the_page(run_copy: Path) -> None:
    before = page_of(run_copy)
    (run_copy / "config.yaml").write_text(f"name: {HOSTILE}\n")
    environment = run_copy / "environment.json"
    environment.write_text(json.dumps({HOSTILE: hostile(json.loads(environment.read_text()))}))
    bank = run_copy / "bank" / "shard-000.jsonl"
    bank.write_text("".join(json.dumps(hostile(json.loads(line))) + "\n" for line in bank.read_text().splitlines()))
    transcripts = run_copy / "eval" / "bank" / "shard-000.jsonl"
    lines = [json.loads(line) for line in transcripts.read_text().splitlines()]
    attacked = [dict(hostile(line), id=line["id"]) for line in lines]
    transcripts.write_text("".join(json.dumps(line) + "\n" for line in attacked))
    selection = run_copy / "selection.json"
    selection.write_text(json.dumps(dict(json.loads(selection.read_text()), dropped={HOSTILE: 3})))
    for number, path in enumerate(sorted((run_copy / "eval" / "results").glob("*.json"))):
        result = json.loads(path.read_text())
        result["checkpoint"] |= {"name": f"{HOSTILE}{number}", "path": HOSTILE}
        result["benchmark"]["name"] = result["isolation"] = HOSTILE
        result["engine"] = {HOSTILE: HOSTILE}
        for episode in result["episodes"]:
            episode |= {"task_id": HOSTILE + episode["task_id"], "kind": HOSTILE}
        path.write_text(json.dumps(result))
    after = page_of(run_copy)
    for tag in ("script", "img"):
        assert [t for t, _ in after.tags].count(tag) == [t for t, _ in before.tags].count(tag)
    assert not [a for _, a in after.tags if any(name.startswith("on") for name in a)]
    assert after.text.count("alert(1)") > 50


STAGES = {
    "nothing": ((), "Nothing has been evaluated yet"),
    "collected": (("bank",), "Nothing has been selected yet"),
    "prepared": (("bank", "selection.json", "corpus"), "Training has not started yet"),
    "trained": (("bank", "selection.json", "corpus", "train"), "There are no transcripts before the first evaluation"),
    "evaluated without a bank": (("eval/results",), "The transcripts of the results are not in eval/bank"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_has_not_run_leaves_a_sentence(whole_run: Path, tmp_path: Path, stage: str) -> None:
    present, sentence = STAGES[stage]
    for name in present:
        source = whole_run / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    assert sentence in words(page_of(tmp_path).text)
    assert (tmp_path / "report.md").read_text().startswith(f"# {tmp_path.name}")


def test_the_base_alone_is_not_called_a_result(run_copy: Path) -> None:
    for result in read_results(run_copy / "eval" / "results"):
        if result.checkpoint.epoch > 0:
            (run_copy / "eval" / "results" / f"{result.key}.json").unlink()
    page = page_of(run_copy)
    assert "So far only the base model has been evaluated" in words(page.text)
    assert "McNemar test" not in page.text.partition("Success")[0]


def test_a_ledger_that_does_not_balance_is_shown_not_to(run_copy: Path) -> None:
    assert "does not balance" not in page_of(run_copy).text
    path = run_copy / "corpus" / "ledger.json"
    ledger = json.loads(path.read_text())
    ledger["train"]["by_role"]["user"] -= 1
    path.write_text(json.dumps(ledger))
    assert page_of(run_copy).text.count("does not balance") == 1
    assert "does not balance" in (run_copy / "report.md").read_text()


def test_a_corpus_that_imitates_the_paper_is_said_to(run_copy: Path) -> None:
    assert "imitates" not in page_of(run_copy).text
    path = run_copy / "corpus" / "corpus.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"imitates": ["a mask one token late", "next-fit packs"]})
    )
    for text in (words(page_of(run_copy).text), words((run_copy / "report.md").read_text())):
        assert "defects included: a mask one token late; next-fit packs." in text


def test_a_damaged_file_is_named(run_copy: Path) -> None:
    (run_copy / "selection.json").write_text('{"input": 3')
    with pytest.raises(ValueError, match=r"selection\.json: it is cut off or not JSON"):
        write_report(run_copy)
    with pytest.raises(ValueError, match="not a folder"):
        write_report(run_copy / "absent")


def test_a_line_still_being_written_is_left_out(run_copy: Path) -> None:
    whole = page_of(run_copy).text.partition("Made ")[0]
    with (run_copy / "train" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    assert page_of(run_copy).text.partition("Made ")[0] == whole


def test_the_terminal_gets_the_same_figures(whole_run: Path) -> None:
    results = read_results(whole_run / "eval" / "results")
    text = words(terminal_report(whole_run))
    for result in results:
        assert f"{100 * sum(e.success for e in result.episodes) / len(result.episodes):.1f} %" in text
