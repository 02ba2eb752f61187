"""Results in the forms of other programs: valid by their schemas, complete, and never over a person's file."""

import csv
import hashlib
import importlib.util
import io
import json
import random
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from eval.tables import Table, render_tables
from launch.cli import app
from tests.helpers.example_run import write_evaluations
from tests.helpers.results import measured, run_with

SCHEMAS = Path(__file__).parents[1] / "data" / "every_eval_ever"
TASKS = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base and one epoch on a few tasks, with transcripts."""
    path = tmp_path_factory.mktemp("export") / "demo"
    write_evaluations(path, random.Random(0), epochs=1, tasks=TASKS)
    return path


def export(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["results", "export", *map(str, arguments)])


def schema(name: str) -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text()))


def test_a_table_is_printed_or_written(run: Path, tmp_path: Path) -> None:
    printed = export(run, "--form", "csv")
    assert printed.exit_code == 0, printed.output
    rows = list(csv.DictReader(io.StringIO(printed.output)))
    whole = [row for row in rows if row["tasks"] == "All tasks"]
    assert [row["checkpoint"] for row in whole] == ["base", "epoch-1"] and {row["n"] for row in whole} == {str(TASKS)}
    assert all(float(row["from"]) <= float(row["success, %"]) <= float(row["to"]) for row in rows)
    (table,) = json.loads(export(run, "--form", "json").output)
    assert [str(row["solved"]) for row in table["rows"]] == [row["solved"] for row in rows]

    out = tmp_path / "table.md"
    assert export(run, "--to", out, "--checkpoint", "epoch-1").exit_code == 0
    text = out.read_text()
    assert "| epoch-1 |" in text and "| base |" not in text
    refused = export(run, "--to", out)
    assert refused.exit_code == 2 and "--replace" in refused.output and out.read_text() == text
    assert export(run, "--to", out, "--replace").exit_code == 0 and "| base |" in out.read_text()


def test_texts_are_escaped() -> None:
    table = Table("a_b", ("x", "50 %"), (("p|q", 1.25), ("r&s", None)))
    assert "| p\\|q | 1.2 |" in render_tables([table], "markdown") and "| r&s | – |" in render_tables(
        [table], "markdown"
    )
    latex = render_tables([table], "latex")
    assert r"\caption{a\_b}" in latex and r"x & 50 \% \\" in latex and r"r\&s & -- \\" in latex
    assert list(csv.reader(io.StringIO(render_tables([table, table], "csv"))))[1] == ["a_b", "p|q", "50 %", "1.25"]
    with pytest.raises(ValueError, match="no table"):
        render_tables([], "json")


def test_every_eval_ever_is_valid_by_its_schemas(run: Path, tmp_path: Path) -> None:
    done = export(run, "--form", "every-eval-ever", "--to", tmp_path, "--organization", "A lab", "--developer", "me")
    assert done.exit_code == 0, done.output
    files = sorted(tmp_path.rglob("*.json"))
    assert {str(path.parent.relative_to(tmp_path)) for path in files} == {
        "data/drawn-not-run/me/demo-base",
        "data/drawn-not-run/me/demo-epoch-1",
    }
    for path in files:
        content = json.loads(path.read_text())
        schema("eval").validate(content)
        details = content["detailed_evaluation_results"]
        lines = (tmp_path / details["file_path"]).read_bytes()
        assert details["total_rows"] == TASKS and details["checksum"] == hashlib.sha256(lines).hexdigest()
        assert content["source_metadata"]["source_organization_name"] == "A lab"
        episodes = [json.loads(line) for line in lines.splitlines()]
        for episode in episodes:
            schema("instance_level_eval").validate(episode)
            assert episode["evaluation_id"] == content["evaluation_id"]
        whole = content["evaluation_results"][0]
        assert whole["score_details"]["score"] == sum(one["evaluation"]["is_correct"] for one in episodes) / TASKS
        assert {one["evaluation_result_id"] for one in episodes} == {whole["evaluation_result_id"]}
        answered = [one for one in episodes if one["answer_attribution"]]
        assert all("<solution>" not in one["answer_attribution"][-1]["extracted_value"] for one in answered)
    again = export(run, "--form", "every-eval-ever", "--to", tmp_path)
    assert again.exit_code == 0, "another developer has other folders"
    assert export(run, "--form", "every-eval-ever", "--to", tmp_path).exit_code == 2


def test_without_transcripts_the_episodes_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    done = export(
        run_with(tmp_path / "run", measured("b", {"k": (1, 2)})), "--form", "every-eval-ever", "--to", tmp_path
    )
    assert done.exit_code == 0 and "0 of the 2 transcripts" in done.output
    (path,) = (tmp_path / "data").rglob("*.json")
    content = json.loads(path.read_text())
    schema("eval").validate(content)
    assert "detailed_evaluation_results" not in content and not list(tmp_path.rglob("*.jsonl"))


def test_the_hub_gets_a_file_for_each_benchmark_of_one_checkpoint(tmp_path: Path) -> None:
    run = run_with(
        tmp_path / "run",
        measured("gsm8k", {"k": (1, 3)}),
        measured("mint", {"k": (1, 2)}),
        measured("gsm8k", {"k": (2, 3)}, checkpoint="epoch-2"),
    )
    assert "choose from epoch-1, epoch-2" in export(run, "--form", "hub", "--to", tmp_path).output
    chosen = (run, "--form", "hub", "--to", tmp_path, "--checkpoint", "epoch-1")
    unknown = export(*chosen)
    assert unknown.exit_code == 2 and "--hub-task mint=OWNER/DATASET:TASK" in unknown.output
    assert not (tmp_path / ".eval_results").exists(), "nothing is written before everything is checked"
    assert "write BENCHMARK=OWNER" in export(*chosen, "--hub-task", "mint").output
    assert export(*chosen, "--hub-task", "mint=a/b:c").exit_code == 0
    written = {path.name: yaml.safe_load(path.read_text()) for path in (tmp_path / ".eval_results").iterdir()}
    (entry,) = written["gsm8k.yaml"]
    assert entry["dataset"] == {"id": "openai/gsm8k", "task_id": "gsm8k"} and entry["value"] == 33.33
    assert written["mint.yaml"][0]["dataset"] == {"id": "a/b", "task_id": "c"}
    hub = pytest.importorskip("huggingface_hub")
    if hasattr(hub, "parse_eval_result_entries"):
        (parsed,) = hub.parse_eval_result_entries(written["gsm8k.yaml"])
        assert (parsed.dataset_id, parsed.task_id, parsed.value) == ("openai/gsm8k", "gsm8k", 33.33)


def test_inspect_is_needed_for_its_form_alone(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    refused = export(run, "--form", "inspect", "--to", tmp_path / "logs")
    assert refused.exit_code == 2 and "pip install 'codeact[inspect]'" in refused.output
    assert not (tmp_path / "logs").exists()
    assert export(run, "--form", "inspect").exit_code == 2


@pytest.mark.skipif(
    importlib.util.find_spec("inspect_ai") is None, reason="needs inspect_ai: pip install 'codeact[inspect]'"
)
def test_an_inspect_log_is_read_by_inspect(run: Path, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    done = export(run, "--form", "inspect", "--to", tmp_path)
    assert done.exit_code == 0, done.output
    logs = [read_eval_log(str(path)) for path in sorted(tmp_path.glob("*.eval"))]
    assert len(logs) == 2 and all(log.status == "success" and len(log.samples or []) == TASKS for log in logs)
    for log in logs:
        assert log.results is not None and log.samples is not None
        solved = sum(sample.scores["success"].value == "C" for sample in log.samples if sample.scores)
        assert log.results.scores[0].metrics["accuracy"].value == solved / TASKS
        assert all(sample.messages for sample in log.samples)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--checkpoint", "none"), "choose from base, epoch-1"),
        (("--form", "hub"), "give their folder with --to"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(run: Path, arguments: tuple[str, ...], says: str) -> None:
    refused = export(run, *arguments)
    assert refused.exit_code == 2 and says in refused.output
