"""MT-Bench: its questions and references, whole measurements with a scripted judge, and the paper's overall score."""

import asyncio
import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from eval import Benchmark
from eval.benchmarks import benchmark_digest
from eval.paper.formulas import overall
from eval.paper.tables import paper_tables
from eval.report import terminal_report
from eval.report.success import suites
from eval.results import read_results, write_result
from eval.scale import ScoreScale
from launch import stages
from launch.cli import app
from launch.config import validate
from rollout import (
    EpisodeJob,
    EpisodeProtocol,
    Sampling,
    Task,
    TaskSet,
    Trajectory,
    WorkerConfig,
    load_tasks,
    run_episode,
)
from rollout.engines import Judge
from tests.helpers.fake_server import NoKernels, chat_reply, http_server
from tests.helpers.results import measured, run_with

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "mt_bench" / "question.jsonl").is_file(),
    reason=f"needs MT-Bench in {DATA}/mt_bench (CODEACT_DATA names another folder)",
)
SCALE = ScoreScale(low=1.0, high=10.0)
ROWS: list[dict[str, Any]] = [
    {"question_id": 1, "category": "writing", "turns": ["Write a line.", "Write another."]},
    {"question_id": 2, "category": "math", "turns": ["3 * 4?", "3 * 5?"], "reference": ["12", ""]},
    {"question_id": 3, "category": "stem", "turns": ["Why is the sky blue?", "And at night?"], "reference": ["a", "b"]},
    {"question_id": 4, "category": "coding", "turns": ["Sort a list.", "Backwards."]},
    {"question_id": 5, "category": "writing", "turns": ["Only one."]},
]
BY_GPT4 = [{"question_id": 2, "choices": [{"index": 0, "turns": ["It is 11.", "It is 15."]}]}]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rows, of which three are tasks."""
    root = tmp_path_factory.mktemp("data")
    (root / "mt_bench" / "reference_answer").mkdir(parents=True)
    for name, rows in (("question", ROWS), ("reference_answer/gpt-4", BY_GPT4)):
        (root / "mt_bench" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return root


def tasks(root: Path, split: str = "test") -> list[Task]:
    return load_tasks(TaskSet(family="mt_bench", split=split, count=None, data_root=root))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])


def test_references_are_the_authors_and_else_those_of_gpt_4(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {task.id: task for task in tasks(small)}
    assert {name: task.kind for name, task in found.items()} == {"1": "writing", "2": "math", "3": "stem"}
    assert (found["1"].prompt, found["1"].followups) == ("Write a line.", ("Write another.",))
    references = {name: json.loads(task.answer)["references"] for name, task in found.items()}
    assert references == {"1": [], "2": ["12", "It is 15."], "3": []}
    (original,) = [task for task in tasks(small, "test-reference") if task.id == "2"]
    assert json.loads(original.answer) == {"questions": ["3 * 4?", "3 * 5?"], "references": ["It is 11.", "It is 15."]}
    assert "1 no reference answer, 1 no two questions" in capsys.readouterr().err


def test_the_check_shows_that_references_reach_the_judge(small: Path) -> None:
    result = run("benchmarks", "validate", "mt_bench", "--data-root", str(small))
    assert result.exit_code == 0, result.output
    assert "| mt_bench | grader | 3 | 3 | 0 of 0 | 0 of 0 |" in result.output
    assert "| mt_bench | chat (`conversation`) | 3 | 2 | 1 of 1 | 3 of 3 |" in result.output


def test_kinds_have_temperatures_of_their_own_unless_the_configuration_has_a_sampling(small: Path) -> None:
    plain = Benchmark(name="mt_bench", data_root=small)
    greedy = Benchmark(name="mt_bench", data_root=small, sampling=Sampling(max_tokens=1024))
    assert plain.sampling_or(Sampling()) == greedy.sampling_or(Sampling()) and greedy.temperatures == {}
    assert plain.temperatures == {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
    digests = {benchmark_digest(one.load(), one.temperatures) for one in (plain, greedy)}
    assert len(digests) == 2 and benchmark_digest(greedy.load()) in digests


class Servers:
    """A model and a judge behind one address; ``silent`` are answers that the judge does not rate."""

    def __init__(self) -> None:
        self.temperatures: dict[str, set[float]] = {}
        self.silent: set[str] = set()
        self.asked = 0

    def handle(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.asked += 1
        request = json.loads(body)
        messages = request["messages"]
        if request["model"] == "judge":
            return 200, json.dumps(chat_reply(self._rating(messages[1]["content"]))).encode()
        assert messages[0] == {"role": "system", "content": "You are a helpful assistant."}
        self.temperatures.setdefault(messages[1]["content"], set()).add(request["temperature"])
        assert request["max_tokens"] == 1024
        return 200, json.dumps(chat_reply(f"To {messages[-1]['content']} Rating: [[10]]")).encode()

    def _rating(self, question: str) -> str:
        if any(one in question for one in self.silent):
            return "I would rather not say."
        first = "Rate answer 1" in question
        return f"It says Rating: [[10]].\nRating: [[{8 if first else 5}]]"


def here(jobs: Sequence[EpisodeJob], workers: WorkerConfig, protocol: EpisodeProtocol) -> Iterator[Trajectory]:
    """The episodes in this process, each attempted once."""
    for job in jobs:
        assert job.judge is not None
        engine, rules = job.engine.build(job.task), (protocol, job.sampling, job.seed)
        with closing(Judge(job.judge)) as judge:
            yield asyncio.run(run_episode(job.task, engine, NoKernels(), *rules, judge))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.collect.run.run_jobs", here)
    monkeypatch.setattr("launch.stages.ray_session", lambda address: nullcontext())


def recipe(root: Path, data: Path, url: str, *more: dict[str, Any], judge: str | None = "gpt", **keys: Any) -> Path:
    """A configuration that measures a running server, judged by another one."""
    engine = {"base_urls": [url], "retries": 0}
    values = {
        "run": str(root / "run"),
        "engines": {"there": engine | {"model": "m"}, "gpt": engine | {"model": "judge"}},
        "judge": {"engine": judge},
        "evaluate": {
            "base": False,
            "engines": ["there"],
            "benchmarks": [*more, {"name": "mt_bench", "data_root": str(data)}],
            **keys,
        },
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(values))
    return root / "recipe.yaml"


@pytest.mark.usefixtures("in_this_process")
def test_a_measurement_has_the_mean_rating_with_its_interval_by_category(small: Path, tmp_path: Path) -> None:
    servers = Servers()
    with http_server(servers.handle) as url:
        done = run("evaluate", str(recipe(tmp_path, small, url)))
    assert done.exit_code == 0, done.output
    assert "there 0/3, mean score 6.50 (6.50 to 6.50)" in done.output
    assert servers.temperatures == {"Write a line.": {0.7}, "3 * 4?": {0.0}, "Why is the sky blue?": {0.1}}
    (result,) = read_results(tmp_path / "run" / "eval" / "engines" / "results")
    assert (result.judge, result.protocol.name, result.scale) == ("judge", "conversation", SCALE)
    assert result.decoding == "temperature 0 (writing 0.7, roleplay 0.7, stem 0.1, humanities 0.1)"
    assert [one.reward for one in result.episodes] == [pytest.approx((7 / 9 + 4 / 9) / 2)] * 3
    write_result(tmp_path / "run" / "eval" / "results", result)  # the report shows the checkpoints of the run
    shown = " ".join(terminal_report(tmp_path / "run").split())
    assert "6.50" in shown and "math" in shown
    table = run("results", "export", str(tmp_path / "run"), "--form", "csv").stdout
    rows = {row["tasks"]: row for row in csv.DictReader(table.splitlines())}
    assert {"All tasks", "Kind: math", "Kind: stem", "Kind: writing"} <= set(rows)
    assert float(rows["Kind: math"]["score"]) == pytest.approx(6.5)


@pytest.mark.usefixtures("in_this_process")
def test_a_judge_without_a_rating_leaves_the_task_out_and_the_same_command_runs_it_again(
    small: Path, tmp_path: Path
) -> None:
    servers = Servers()
    servers.silent = {"To And at night?"}
    with http_server(servers.handle) as url:
        refused = run("evaluate", str(recipe(tmp_path, small, url)))
        assert refused.exit_code == 2 and "1 of 3 episodes were lost" in " ".join(refused.output.split())
        partial = run("evaluate", str(recipe(tmp_path, small, url, max_unscored_share=0.4)))
        assert "there 0/2, mean score 6.50" in partial.output and "1 of 3 without a verdict" in partial.output
        servers.silent = set()
        whole = run("evaluate", str(recipe(tmp_path, small, url, max_unscored_share=0.4)))
    assert "there 0/3, mean score 6.50" in whole.output and "without a verdict" not in whole.output


@pytest.mark.usefixtures("in_this_process")
def test_without_a_judge_nothing_runs(small: Path, tmp_path: Path) -> None:
    servers = Servers()
    first = {"name": "first", "tasks": {"split": "heldout", "count": 1}}
    with http_server(servers.handle) as url:
        refused = run("evaluate", str(recipe(tmp_path, small, url, first, judge=None)))
    said = " ".join(re.sub(r"[│╭╰─╮╯]", " ", refused.output).split())
    assert refused.exit_code == 2 and servers.asked == 0
    assert "judge.engine=null: the grader 'rating' of 1 needs a judge; name an engine of the section engines" in said
    assert "Traceback" not in said and not list(tmp_path.glob("run/eval/**/*.json"))


def test_a_loop_that_ends_with_a_judged_benchmark_needs_the_judge_before_it_starts(tmp_path: Path) -> None:
    values = {"run": str(tmp_path / "run"), "evaluate": {"benchmarks": [{"name": "gsm8k"}, {"name": "mt_bench"}]}}
    with pytest.raises(
        ValueError, match=r"judge\.engine=null: a judge rates the answers of mt_bench in evaluate\.benchmarks"
    ):
        stages.check_engines(validate(values, "test"))
    judge = {"engines": {"gpt": {"base_urls": ["http://127.0.0.1:1/v1"], "model": "m"}}, "judge": {"engine": "gpt"}}
    stages.check_engines(validate(values | judge, "test"))


def test_ten_times_the_score_is_in_the_papers_overall_score(tmp_path: Path) -> None:
    rewards = {f"writing/{number}": 0.5 for number in range(80)}
    sizes = {"m3tooleval": 82, "miniwob": 184, "scienceworld": 30, "mmlu": 14_042, "humaneval": 164, "gsm8k": 1319}
    sets = {"mint_id": 0.0, "mint_od": 40.0, **dict.fromkeys(sizes, 50.0), "mt_bench": 5.5}
    assert overall(sets, ["mint_od", *sizes, "mt_bench"]) == pytest.approx((40 + 6 * 50 + 55) / 8)
    ours = measured("mt_bench", {"writing": (0, 80)}, rewards=rewards, score=SCALE)
    judged = [one.model_copy(update={"legacy_success": False}) for one in ours.episodes]
    original = measured("mt_bench-reference", {"writing": (0, 80)}, rewards=dict.fromkeys(rewards, 1 / 3), score=SCALE)
    run_folder = run_with(tmp_path / "mine", ours.model_copy(update={"episodes": tuple(judged)}), original)
    (five,) = [table for table in paper_tables([run_folder]) if table.title.startswith("Table 5")]
    column = five.columns.index("MT-Bench")
    shown = {row[0]: row[column] for row in five.rows if str(row[0]).startswith("mine")}
    assert shown == {
        "mine: epoch-1": pytest.approx(5.5),
        "mine: epoch-1, by the reference's rules": pytest.approx(4.0),
    }


@needs_data
def test_the_questions_are_those_of_the_paper() -> None:
    by_split = {split: tasks(DATA, split) for split in ("test", "test-reference")}
    for found in by_split.values():
        kinds = [task.kind for task in found]
        assert len(found) == 80 and {kinds.count(kind) for kind in kinds} == {10} and len(set(kinds)) == 8
        assert sum(task.expert is not None for task in found) == 30
    ours, original = ({task.id: json.loads(task.answer)["references"] for task in one} for one in by_split.values())
    assert ours["113"][1] == "0%" and "51.11%" in original["113"][1]
    pairs = [pair for name in ours for pair in zip(ours[name], original[name], strict=True)]
    assert len(pairs) == 60 and sum(own != other for own, other in pairs) == 54  # 55 by the authors, one the same


@needs_data
def test_references_of_every_category_that_has_them_reach_the_judge() -> None:
    result = run("benchmarks", "validate", "mt_bench", "--data-root", str(DATA))
    assert (
        result.exit_code == 0
        and "| mt_bench | chat (`conversation`) | 80 | 50 | 30 of 30 | 90 of 90 |" in result.output
    )


def test_results_of_different_judges_are_not_compared() -> None:
    one = measured("mt_bench", {"writing": (0, 4)}, score=SCALE)
    judged = [one.model_copy(update={"judge": judge}) for judge in ("gpt", "claude")]
    assert [suite.results for suite in suites(judged)] == [[judged[0]], [judged[1]]]
