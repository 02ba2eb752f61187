"""MMLU by log-probabilities: its prompt, whole measurements, both means; and the questions of WikiTableQuestions."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval import Benchmark, EvaluateConfig, evaluate_servers
from eval.report.success import slices, suites
from eval.scores import figure_of
from launch.cli import app
from rollout import EpisodeProtocol, TaskSet, load_tasks
from rollout.engines import ServerSpec
from tests.eval.test_unscored import run_here
from tests.helpers.fake_server import http_server

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))


def needs(path: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (DATA / path).exists(), reason=f"needs {DATA}/{path} (CODEACT_DATA names another folder)"
    )


def validate(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["benchmarks", "validate", *arguments])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects with five solved questions each, and tests of three and one."""
    root = tmp_path_factory.mktemp("data")
    for subject, tests in (("high_school_sums", 3), ("zoology", 1)):
        for split, count in (("dev", 5), ("test", tests)):
            folder = root / "mmlu" / "data" / split
            folder.mkdir(parents=True, exist_ok=True)
            rows = [f'"{subject} {split} {n}, is it?",one,two,three,four,{"ABCD"[n % 4]}' for n in range(count)]
            (folder / f"{subject}_{split}.csv").write_text("\n".join(rows) + "\n")
    return root


def test_the_prompt_has_five_solved_questions_of_the_subject(small: Path) -> None:
    (*_, task) = load_tasks(TaskSet(family="mmlu", split="test", count=None, data_root=small, options={"shots": 5}))
    assert (task.id, task.kind, task.choices) == ("test-zoology-0", "zoology", (" A", " B", " C", " D"))
    parts = task.prompt.split("\n\n")
    assert parts[0] == "The following are multiple choice questions (with answers) about zoology."
    assert parts[2] == "zoology dev 1, is it?\nA. one\nB. two\nC. three\nD. four\nAnswer: B" and len(parts) == 7
    assert parts[-1] == "zoology test 0, is it?\nA. one\nB. two\nC. three\nD. four\nAnswer:"
    plain = load_tasks(TaskSet(family="mmlu", split="test", count=None, data_root=small))[-1]
    assert plain.choices == () and plain.id == task.id and plain.ref.digest != task.ref.digest


@pytest.mark.parametrize("options", [{"shots": 6}, {"shots": "5"}, {"shots": True}, {"other": 1}])
def test_other_options_are_refused(small: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="does not fit mmlu; write shots: 5"):
        load_tasks(TaskSet(family="mmlu", split="test", count=None, data_root=small, options=options))


def test_gold_letters_solve_every_question_and_other_letters_none(small: Path) -> None:
    result = validate("mmlu", "--data-root", str(small), "--json")
    grader, plain, chat = json.loads(result.stdout)
    assert result.exit_code == 0 and grader["tasks"] == 4
    for check in (plain, chat):
        assert (check["accepted"], check["right"], check["rejected"], check["wrong"]) == (4, 4, 12, 12)


def a_is_best(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    """A server for which A is always the most probable letter, and D is never listed."""
    asked = json.loads(body)
    assert path == "/v1/completions" and asked["max_tokens"] == 1
    if asked.get("echo"):
        return 400, json.dumps({"error": {"message": "echo is not supported"}}).encode()
    listed = {" A": -0.5, " B": -1.5, " C": -2.5}
    choice = {"text": " A", "logprobs": {"tokens": [" A"], "token_logprobs": [-0.5], "top_logprobs": [listed]}}
    return 200, json.dumps({"choices": [choice], "usage": {"prompt_tokens": 5}}).encode()


def test_a_measurement_has_the_accuracy_of_all_and_the_mean_of_subjects(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.collect.run.run_jobs", run_here)
    config = EvaluateConfig(benchmarks=(Benchmark(name="mmlu", data_root=small),))
    with http_server(a_is_best) as url:
        server = ServerSpec(name="a-is-best", base_urls=(url,), model="m")
        (result,) = evaluate_servers(config, EpisodeProtocol(), {"s": server}, tmp_path, lambda: None)
    assert [(one.kind, one.success) for one in result.episodes] == [
        ("high_school_sums", True), ("high_school_sums", False), ("high_school_sums", False), ("zoology", True),
    ]  # fmt: skip
    assert result.sampling.max_tokens == 1 and result.protocol.name == "mmlu-5-shot"
    row, *_ = slices(suites([result])[0])
    assert row.rates[0].interval.estimate == 0.5 and figure_of(result) == 50.0
    assert row.scores[0].mean == pytest.approx(100 * (1 / 3 + 1) / 2)


def test_a_protocol_that_compares_choices_refuses_other_tasks(tmp_path: Path) -> None:
    other = Benchmark(name="b", tasks=TaskSet(count=1), protocol=EpisodeProtocol.model_validate("mmlu-5-shot"))
    server = ServerSpec(name="s", base_urls=("http://127.0.0.1:1/v1",), model="m")
    with pytest.raises(ValueError, match="has no choices to compare"):
        evaluate_servers(EvaluateConfig(benchmarks=(other,)), EpisodeProtocol(), {"s": server}, tmp_path, lambda: None)


@needs("mmlu/mmlu_test_dev_val.tar.gz")
def test_the_questions_of_mmlu_are_those_of_the_paper() -> None:
    tasks = Benchmark(name="mmlu", data_root=DATA).load()
    assert len(tasks) == 14_042 and len({task.kind for task in tasks}) == 57
    assert all(task.prompt.count("\nAnswer:") == 6 and len(task.choices) == 4 for task in tasks)


@needs("mmlu/mmlu_test_dev_val.tar.gz")
@pytest.mark.slow
def test_every_gold_letter_of_mmlu_solves_its_question_and_no_other_letter_does() -> None:
    result = validate("mmlu", "--by", "5-shot", "--data-root", str(DATA), "--json")
    (check,) = json.loads(result.stdout)
    assert (check["accepted"], check["rejected"], check["wrong"]) == (14_042, 42_126, 42_126)


@needs("wtq")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["wtq", "wtq-sqlite"])
def test_every_question_of_wikitablequestions_is_judged_as_it_should_be(name: str) -> None:
    result = validate(name, "--data-root", str(DATA), "--json")
    (check,) = json.loads(result.stdout)
    assert result.exit_code == 0 and check["tasks"] == 4344
    assert check["accepted"] == check["right"] and check["rejected"] == check["wrong"] >= 2 * 4344


@needs("wtq")
def test_both_forms_of_the_tables_have_the_same_questions() -> None:
    pandas, sqlite = (Benchmark(name=name, data_root=DATA).load() for name in ("wtq", "wtq-sqlite"))
    assert len(pandas) == len(sqlite) == 4344 and {task.kind for task in sqlite} == {"sqlite"}
    same = zip(pandas, sqlite, strict=True)
    assert all(a.id.removesuffix("-pandas") == b.id.removesuffix("-sqlite") and a.answer == b.answer for a, b in same)
