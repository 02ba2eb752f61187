"""`codeact benchmarks validate`: players and right answers solve every task of a benchmark, wrong answers none."""

import json
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from eval import BENCHMARKS, BenchmarkSpec
from launch.cli import app
from rollout.families import Call, CallingExpert, Player, Task, TaskSet, Toolset
from rollout.registry import GRADERS, TASK_FAMILIES

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "m3tooleval" / "tasks.json").is_file(),
    reason=f"needs M3ToolEval in {DATA}/m3tooleval (CODEACT_DATA names another folder)",
)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["benchmarks", "validate", *arguments])


@needs_data
@pytest.mark.parametrize("way", ["grader", "json", "text"])
def test_every_task_of_m3tooleval_is_solved_and_no_wrong_answer_is(way: str) -> None:
    result = run("m3tooleval", "--by", way, "--data-root", str(DATA), "--json")
    (check,) = json.loads(result.stdout)
    assert result.exit_code == 0 and check["tasks"] == 82 and check["without_answer"] == 0, result.stdout
    assert check["accepted"] == check["right"] >= 82 and check["rejected"] == check["wrong"] >= 4 * 82


@needs_data
@pytest.mark.slow
def test_every_task_of_m3tooleval_is_solved_in_code() -> None:
    result = run("m3tooleval", "--by", "code", "--data-root", str(DATA))
    assert result.exit_code == 0 and "| m3tooleval | code (`m3tooleval`) | 82 | 0 | 82 of 82 |" in result.output


@needs_data
def test_some_tasks_of_each_domain_are_solved_in_code() -> None:
    result = run("m3tooleval", "--by", "code", "--limit", "10", "--data-root", str(DATA))
    assert result.exit_code == 0 and "| m3tooleval | code (`m3tooleval`) | 10 | 0 | 10 of 10 |" in result.output


class Doubles(Toolset):
    """One function."""

    kind: ClassVar[str | None] = "doubles"
    names = ("double",)

    def double(self, number: int) -> int:
        """Returns twice the number."""
        return 2 * number


def play(prompt: str) -> Player:
    (doubled,) = yield [Call("double", (int(prompt),))]
    return str(doubled)


def generate(split: str, count: int, seed: int, kinds: tuple[str, ...] | None = None) -> list[Task]:
    return [
        Task("doubles", "k", "test", "test", f"t{number}", str(number), str(2 * number), "strict", toolset=Doubles(),
             expert=CallingExpert(play, str(number)))
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASK_FAMILIES._loaded, "doubles", generate)
    monkeypatch.setitem(GRADERS._loaded, "strict", lambda proposed, reference: proposed == reference)
    spec = BenchmarkSpec(
        title="Doubles",
        licence="CC0",
        tasks=TaskSet(family="doubles", split="test", count=3),
        protocols={"json": "m3tooleval-json", "tags": "codeact"},
        size=3,
    )
    monkeypatch.setitem(BENCHMARKS._loaded, "doubles", spec)


def test_a_benchmark_is_checked_by_its_grader_and_in_episodes(doubles: None) -> None:
    result = run("doubles")
    assert result.exit_code == 0, result.output
    assert "| doubles | grader | 3 | 0 | 3 of 3 | 6 of 6 |" in result.output
    assert "| doubles | json (`m3tooleval-json`) | 3 | 0 | 3 of 3 | 6 of 6 |" in result.output
    assert "| doubles | tags (`codeact`) | 3 | 0 | 3 of 3 | 6 of 6 |" in result.output


def test_a_grader_that_accepts_or_refuses_too_much_is_found(doubles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRADERS._loaded, "strict", lambda proposed, reference: proposed != reference)
    result = run("doubles", "--by", "json", "--limit", "1")
    assert result.exit_code == 1
    assert "| doubles | json (`m3tooleval-json`) | 1 | 0 | 0 of 1 | 0 of 2 |" in result.output
    assert "doubles/json/t0: right answer refused" in result.output
    assert "doubles/json/t0: wrong answer accepted" in result.output


def test_a_player_that_fails_is_no_verdict(doubles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Doubles, number: int) -> int:
        """Returns nothing."""
        raise RuntimeError("no such thing")

    monkeypatch.setattr(Doubles, "double", broken)
    result = run("doubles", "--by", "json", "--limit", "1", "--json")
    (check,) = json.loads(result.stdout)
    assert result.exit_code == 1 and check["accepted"] == 0 and check["findings"][0]["problem"] == "no verdict"


def test_missing_data_are_named(tmp_path: Path) -> None:
    result = run("m3tooleval", "--data-root", str(tmp_path))
    assert result.exit_code == 2 and "there is no m3tooleval/" in result.output


def test_all_benchmarks_are_checked_and_missing_data_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BENCHMARKS, "names", lambda: ["m3tooleval"])
    result = run("--all", "--data-root", str(tmp_path))
    assert result.exit_code == 0 and "| m3tooleval | not on this machine |" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give the name of a benchmark or --all"),
        (("m3tooleval", "--all"), "give the name of a benchmark or --all"),
        (("nothing",), "is not a registered benchmark"),
        (("m3tooleval", "--by", "tags"), "choose from: grader, code, json, text"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and said in " ".join(result.output.split())
