"""BFCL as a registered benchmark: every possible answer is accepted in each form, made wrong ones in none."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval.benchmarks import Benchmark
from launch.cli import app
from rollout import EpisodeProtocol, Sampling
from rollout.checks.validate.answers import answers_of
from rollout.graders import judge

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "bfcl").is_dir(), reason=f"needs BFCL in {DATA}/bfcl (CODEACT_DATA names another folder)"
)


def test_the_benchmark_fixes_protocols_and_sampling() -> None:
    spec = Benchmark(name="bfcl").spec
    assert spec is not None and spec.sampling == Sampling(max_tokens=512)
    forms = {name: EpisodeProtocol.model_validate(one).form for name, one in spec.protocols.items()}
    assert forms == {"json": "calls_json", "code": "calls_python", "tools": "tools"}


@needs_data
def test_the_original_has_1240_requests_in_five_categories() -> None:
    tasks = Benchmark(name="bfcl", data_root=DATA).load()
    counts = {kind: sum(task.group == kind for task in tasks) for kind in sorted({task.group for task in tasks})}
    assert counts == {"irrelevance": 240, "multiple": 200, "parallel": 200, "parallel_multiple": 200, "simple": 400}
    assert len({task.id for task in tasks}) == 1240


@needs_data
def test_the_rule_of_the_original_refuses_5_right_answers_and_takes_480_that_cannot_be_read() -> None:
    made = [(task, answers_of(task)) for task in Benchmark(name="bfcl", data_root=DATA).load()]
    right = [judge("calls", text, task.answer, legacy=True).kind for task, answers in made for text in answers.right]
    wrong = [judge("calls", text, task.answer, legacy=True).kind for task, answers in made for text in answers.wrong]
    assert (len(right), right.count("right"), right.count("none")) == (2686, 2681, 0)
    assert (len(wrong), wrong.count("right"), wrong.count("none")) == (22405, 480, 0)


def validated(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["benchmarks", "validate", "bfcl", "--data-root", str(DATA), "--json", *arguments])
    checks: list[dict[str, Any]] = json.loads(result.stdout)
    assert result.exit_code == 0, checks
    for check in checks:
        assert check["without_answer"] == 0 and check["accepted"] == check["right"] >= check["tasks"]
        assert check["rejected"] == check["wrong"] > 5 * check["tasks"]
    return checks


@needs_data
def test_possible_answers_are_accepted_in_each_form_and_wrong_ones_refused() -> None:
    checks = validated("--limit", "5")
    assert [check["way"] for check in checks] == ["grader", "code", "json", "tools"]


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "tasks", "right", "wrong"),
    [("grader", 1240, 2686, 22405), ("json", 1240, 2926, 9480), ("tools", 1240, 2926, 9240)],
)
def test_all_possible_answers_are_accepted(way: str, tasks: int, right: int, wrong: int) -> None:
    (check,) = validated("--by", way)
    assert (check["tasks"], check["accepted"], check["rejected"]) == (tasks, right, wrong)


@needs_data
@pytest.mark.slow
def test_possible_answers_of_some_requests_are_accepted_in_code() -> None:
    (check,) = validated("--by", "code", "--limit", "100")
    assert check["tasks"] == 100
