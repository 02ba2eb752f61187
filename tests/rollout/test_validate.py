"""`codeact tasks validate`: graders accept the answers of the data and reject wrong ones, or the exit code says it."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from launch.cli import app
from rollout.checks.validate import validate_family
from rollout.checks.validate.answers import FORMS, answers_of, without_results
from rollout.families import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused
from rollout.registry import GRADERS

TASK = Task("f", "k", "test", "test", "1", "?", "", "text")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["tasks", "validate", *arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "gsm8k").mkdir()
    rows = [{"question": f"1+{n}?", "answer": f"#### {n + 1}"} for n in range(10)] + [{"question": "?", "answer": ""}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "gsm8k" / "test.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_a_sound_family_passes_and_shows_what_is_refused_and_missing(data: Path) -> None:
    result = run("gsm8k", "--data-root", str(data))
    assert result.exit_code == 0
    assert "| gsm8k | test | 10 | 1 no answer after #### | 10 of 10 | 40 of 40 |" in result.output
    assert "| gsm8k | train | not on this machine |" in result.output


def test_all_families_are_checked_and_missing_data_is_no_failure(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.cli.tasks._run_examples", list)  # kernels; tests of the examples run them
    result = run("--all", "--split", "test", "--limit", "3", "--data-root", str(data), "--json")
    reports = {report["family"]: report for report in json.loads(result.stdout)}
    assert result.exit_code == 0 and reports["gsm8k"]["tasks"] == 3 and reports["gsm8k"]["right"] == 3
    assert "humaneval/HumanEval.jsonl" in reports["humaneval"]["missing"]
    assert "strategyqa" not in reports, "a family without the split is left out of --all"


class Lenient(DataFamily):
    """A family whose grader accepts everything but its own answer."""

    name: ClassVar[str] = "lenient"
    info: ClassVar[FamilyInfo] = FamilyInfo("T", "L", {"test": ""}, {"test": (DataSource(()),)}, "contrary")

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        yield replace(TASK, answer="4", grader="contrary")
        yield replace(TASK, answer="broken", grader="contrary")


def contrary(proposed: str, reference: str) -> bool:
    if reference == "broken":
        raise RuntimeError("no such thing")
    return proposed != reference


def test_each_answer_that_is_judged_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRADERS._loaded, "contrary", contrary)
    (report,) = validate_family(Lenient())
    assert not report.ok and report.problems == 6
    assert [found.problem for found in report.findings] == [
        "right answer refused",
        "wrong answer accepted",
        "wrong answer accepted",
        "no verdict",
        "no verdict",
        "no verdict",
    ]
    assert "no such thing" in report.findings[-1].reason


@pytest.mark.parametrize("arguments", [(), ("gsm8k", "--all")])
def test_one_family_or_all_must_be_named(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and "give the name of a family or --all" in result.output


@pytest.mark.parametrize(
    ("grader", "answer"),
    [
        ("number", "0.0001"),
        ("number", "-9867630"),
        ("short_answer", "no"),
        ("short_answer", "Robert Erskine Childers DSC"),
        ("short_answer", "1962"),
        ("yes_no", "yes"),
        ("choice", '{"letter": "d", "options": ["12", "22", "840", "240"]}'),
        ("choice", '{"letter": "b", "options": ["687", "687", "1,493"]}'),
        ("choice", '{"letter": "c", "options": ["bb Bb", "BB Bb", "Bb Bb"]}'),
        ("choice", '{"letter": "a", "options": ["B", "A", "both", "none"]}'),
        ("theoremqa", '{"answer": 3e-36, "type": "float"}'),
        ("theoremqa", '{"answer": [0, 5], "type": "list of integer"}'),
        ("theoremqa", '{"answer": "(c)", "type": "option"}'),
        ("denotation", '["2004", "Italy"]'),
        ("sql_result", '{"labels": ["7"], "type": "other", "hash": null}'),
    ],
)
def test_every_grader_tells_the_answers_of_its_form_apart(grader: str, answer: str) -> None:
    task = replace(TASK, answer=answer, grader=grader)
    made = answers_of(task)
    judged = {proposed: GRADERS.get(grader)(proposed, answer) for proposed in made.right}
    assert judged and all(verdict.kind == "right" for verdict in judged.values()), judged
    accepted = [proposed for proposed in made.wrong if GRADERS.get(grader)(proposed, answer).kind != "wrong"]
    assert len(made.wrong) > 2 and not accepted


def test_a_wrong_program_returns_nothing() -> None:
    assert without_results("def f(x):\n    return x\n") == "def f(x):\n    return None"
    assert without_results("print(1)") == without_results("print 'old'") == ""
    assert set(FORMS) <= set(GRADERS.names()) | {"math", "unit_tests", "stdin_tests"}
