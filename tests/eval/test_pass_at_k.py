"""Several episodes of each task: their seeds, pass@k with its interval, and how reports and exports show them."""

import csv
import io
import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval import Benchmark, EvalResult, EvaluateConfig, evaluate_servers, pass_of
from eval.pass_at_k import shown_ks
from eval.report import write_report
from eval.report.success import grid, headline, slices, suites
from eval.results import BenchmarkRef, EpisodeResult, read_results, result_path, write_result
from eval.stats import compare_paired, compare_shares, pass_at_k
from launch.cli import app
from rollout import EpisodeProtocol, Sampling, TaskSet, read_trajectories
from rollout.engines import ServerSpec
from tests.eval.test_unscored import run_here
from tests.helpers.fake_server import chat_reply, http_server
from tests.helpers.results import measured, run_with
from tests.helpers.unscored import TASKS

EACH = 4
DRAWN = Sampling(temperature=0.5)


@pytest.mark.parametrize(("n", "c"), [(1, 0), (1, 1), (5, 0), (5, 2), (5, 5), (6, 1)])
def test_the_estimator_is_the_share_of_choices_with_a_solved_episode(n: int, c: int) -> None:
    outcomes = [True] * c + [False] * (n - c)
    for k in range(1, n + 1):
        chosen = [any(some) for some in combinations(outcomes, k)]
        assert pass_at_k(n, c, k) == pytest.approx(sum(chosen) / len(chosen))
    assert pass_at_k(200, 3, 100) == pytest.approx(1 - (100 * 99 * 98) / (200 * 199 * 198))


@pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, 2, 6), (5, 2, 0), (5, -1, 1)])
def test_what_cannot_be_estimated_is_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="cannot be estimated"):
        pass_at_k(n, c, k)


def test_every_usual_k_up_to_the_number_of_episodes_is_shown() -> None:
    assert shown_ks(1) == [] and shown_ks(2) == [1, 2] and shown_ks(7) == [1, 2, 5, 7]
    assert shown_ks(10) == [1, 2, 5, 10] and shown_ks(200) == [1, 2, 5, 10, 20, 50, 100, 200]


def test_shares_of_tasks_are_compared_by_the_sign_test() -> None:
    before, after = [0.0, 0.5, 1.0, 0.25], [0.5, 0.75, 0.5, 0.25]
    compared = compare_shares(before, after)
    assert (compared.gained, compared.lost, compared.n) == (2, 1, 4) and compared.p_value == 1.0
    assert compared.difference.estimate == pytest.approx(0.0625)
    assert compared.difference.low < 0.0625 < compared.difference.high
    outcomes = ([True, False, False], [True, True, False])
    assert compare_shares(*(list(map(float, one)) for one in outcomes)) == compare_paired(*outcomes)


def several(solved: dict[str, int], checkpoint: str = "epoch-1") -> EvalResult:
    """Four episodes of each task, of which the first ``solved`` are solved."""
    one = measured("drawn", {"k": (0, len(solved))}, checkpoint=checkpoint)
    blank = one.episodes[0]
    episodes = [
        EpisodeResult(
            **blank.model_dump()
            | {"task_id": task, "sample": sample, "success": sample < count, "trajectory_id": f"{task}-{sample}",
               "reason": "solved" if sample < count else "wrong_answer"},
        )
        for sample in range(EACH)
        for task, count in solved.items()
    ]  # fmt: skip
    benchmark = BenchmarkRef(name="drawn", digest="d", tasks=len(solved), samples=EACH)
    update = {"benchmark": benchmark.model_dump(), "sampling": DRAWN.model_dump(), "episodes": episodes}
    return EvalResult.model_validate(one.model_dump(by_alias=True) | update)


BASE, BETTER = several({"a": 0, "b": 1, "c": 4}, "base"), several({"a": 2, "b": 1, "c": 4})


def test_a_result_has_every_episode_once_and_a_key_of_its_own(tmp_path: Path) -> None:
    path = write_result(tmp_path, BETTER)
    assert read_results(tmp_path) == [BETTER] and path == result_path(tmp_path, BETTER.key)
    once = BETTER.benchmark.model_copy(update={"samples": 1})
    assert BETTER.model_copy(update={"benchmark": once}).key != BETTER.key
    for episodes, said in (
        (BETTER.episodes[1:], "11 for a benchmark of 3 tasks of 4 episodes each"),
        ((*BETTER.episodes[1:], BETTER.episodes[1]), "keep one episode per task and sample"),
    ):
        with pytest.raises(ValueError, match=said):
            EvalResult.model_validate(BETTER.model_dump(by_alias=True) | {"episodes": episodes})


def test_pass_at_k_is_the_mean_over_tasks_and_leaves_tasks_with_too_few_episodes_out() -> None:
    passed = pass_of(BETTER, 2)
    assert passed is not None and passed.tasks == 3
    assert passed.estimate == pytest.approx((5 / 6 + 1 / 2 + 1) / 3)
    assert passed.interval is not None and passed.interval.low < passed.estimate < passed.interval.high
    assert passed.text.startswith("pass@2 77.8 % (")
    rate = slices(suites([BETTER])[0])[0].rates[0]
    first = pass_of(BETTER, 1)
    assert first is not None and first.estimate == rate.interval.estimate == pytest.approx(7 / 12)
    fewer = BETTER.model_copy(update={"episodes": BETTER.episodes[1:]})  # one of task a has no verdict
    last = pass_of(fewer, 4)
    assert last is not None and (last.tasks, last.estimate) == (2, 1.0) and pass_of(fewer, 5) is None


def test_the_report_compares_tasks_and_shows_each_pass_at_k(tmp_path: Path) -> None:
    (suite,) = suites([BASE, BETTER])
    top = headline(suite)
    assert top is not None and (top.change.gained, top.change.lost, top.change.n) == (1, 0, 3)
    assert top.change.difference.estimate == pytest.approx(1 / 6)
    (block,) = grid(suite)
    assert block.rows[1][1] == [(True, "c: 4 of 4 solved"), (True, "a: 2 of 4 solved"), (False, "b: 1 of 4 solved")]
    run = run_with(tmp_path / "run", BASE, BETTER)
    write_report(run)
    text = (run / "report.md").read_text()
    assert "| k = 2 | 50.0" in text and "4 episodes of each task" in text and "McNemar" not in text
    page = (run / "report.html").read_text()
    assert "k = 4" in page and "episodes of held-out tasks" in page


def export(run: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(app, ["results", "export", str(run), *arguments])
    assert result.exit_code == 0, result.output
    return result


def test_exports_have_each_pass_at_k(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", BETTER, measured("once", {"k": (1, 2)}))
    rows = list(csv.DictReader(io.StringIO(export(run, "--form", "csv").stdout)))
    drawn = next(row for row in rows if row["benchmark"] == "drawn")
    assert float(drawn["pass@2"]) == pytest.approx(77.78, abs=0.01) and float(drawn["pass@4"]) == 100.0
    assert next(row for row in rows if row["benchmark"] == "once")["pass@2"] == ""
    export(
        run, "--form", "every-eval-ever", "--to", str(tmp_path / "eee"), "--organization", "a lab", "--developer", "me"
    )
    (file,) = (tmp_path / "eee" / "data" / "drawn").rglob("*.json")
    figures = {one["metric_config"]["metric_id"]: one for one in json.loads(file.read_text())["evaluation_results"]}
    assert figures["pass_at_2"]["score_details"]["score"] == pytest.approx(7 / 9)
    assert figures["pass_at_2"]["score_details"]["uncertainty"]["num_samples"] == 3
    assert figures["accuracy"]["score_details"]["uncertainty"]["confidence_interval"]["method"] == "bootstrap"


def test_a_sweep_draws_every_episode_with_its_own_seed_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.collect.run.run_jobs", run_here)
    asked: Counter[int] = Counter()

    def handle(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        request = json.loads(body)
        asked[request["seed"]] += 1
        right = request["seed"] % 2
        return 200, json.dumps(chat_reply(f"<solution>{right}</solution>")).encode()

    tasks = TaskSet(family="tests.helpers.unscored:generate", split=str(tmp_path), count=TASKS)
    config = EvaluateConfig(benchmarks=(Benchmark(name="drawn", tasks=tasks, samples=3, sampling=DRAWN),), seed=5)
    with http_server(handle) as url:
        server = ServerSpec(name="weights", base_urls=(url,), model="m", retries=0)

        def evaluate(config: EvaluateConfig) -> EvalResult:
            (found,) = evaluate_servers(config, EpisodeProtocol(), {"m": server}, tmp_path / "eval", lambda: None)
            return found

        result = evaluate(config)
        assert asked == dict.fromkeys((5, 6, 7), TASKS)
        assert len({one.trajectory_id for one in result.episodes}) == 3 * TASKS
        first = [(one.sample, one.success) for one in result.episodes if one.task_id == result.episodes[0].task_id]
        assert first == [(0, True), (1, False), (2, True)]
        assert evaluate(config) == result and asked.total() == 3 * TASKS
        more = config.benchmarks[0].model_copy(update={"samples": 4})
        assert len(evaluate(config.model_copy(update={"benchmarks": (more,)})).episodes) == 4 * TASKS
        assert asked[8] == TASKS and asked.total() == 4 * TASKS, "the first three episodes of each task are kept"
        greedy = config.benchmarks[0].model_copy(update={"sampling": Sampling()})
        with pytest.raises(ValueError, match=r"drawn has samples=3.*set its sampling, such as"):
            evaluate(config.model_copy(update={"benchmarks": (greedy,)}))
    assert {one.sampling.seed for one in read_trajectories(tmp_path / "eval" / "bank")} == {5, 6, 7, 8}
