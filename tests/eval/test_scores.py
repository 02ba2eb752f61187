"""Scores beside success: stored where they say more than success, averaged with an interval, shown and exported."""

import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from eval import Benchmark, EvaluateConfig, evaluate_servers
from eval.benchmarks.spec import BenchmarkSpec
from eval.report import terminal_report, write_report
from eval.report.success import headline, slices, suites
from eval.results import EpisodeResult, EvalResult
from eval.scale import ScoreScale
from eval.scores import mean_score, score_change
from launch.cli import app
from rollout import EpisodeProtocol, Outcome, Task, TaskSet
from rollout.engines import ServerSpec
from rollout.graders import Verdict
from tests.eval.test_unscored import run_here
from tests.helpers.episodes import record
from tests.helpers.fake_server import chat_reply, http_server
from tests.helpers.results import measured, run_with

HUNDRED = ScoreScale(low=0, high=100, mean_of="kinds")
TEN = ScoreScale(low=1, high=10)
PARTIAL = {"a/1": 0.5, "b/2": 0.25}


def scored(checkpoint: str = "epoch-1", scale: ScoreScale | None = HUNDRED) -> EvalResult:
    """Two kinds: the first with rewards 1 and 0.5, the second with 1, 0, 0.25 and 0."""
    return measured("science", {"a": (1, 2), "b": (1, 4)}, checkpoint=checkpoint, rewards=PARTIAL, score=scale)


def test_a_result_without_partial_rewards_is_stored_as_before() -> None:
    result = measured("plain", {"a": (1, 2)})
    assert not result.has_scores
    text = result.model_dump_json(by_alias=True)
    assert '"reward"' not in text and '"score"' not in text


@pytest.mark.parametrize(
    ("success", "reward", "stored"), [(True, 1.0, None), (False, 0.0, None), (False, 0.4, 0.4), (True, 2.0, 2.0)]
)
def test_an_episode_keeps_its_reward_where_success_does_not_say_it(
    success: bool, reward: float, stored: float | None
) -> None:
    outcome = Outcome(success=success, reward=reward, reason="solved" if success else "failed")
    episode = EpisodeResult.from_trajectory(record(0).model_copy(update={"outcome": outcome}))
    assert episode.reward == stored
    assert EpisodeResult.model_validate(episode.model_dump()) == episode


def test_the_mean_is_over_tasks_or_over_the_means_of_kinds() -> None:
    by_kind = mean_score(scored())
    assert by_kind.mean == pytest.approx((75 + 31.25) / 2) and by_kind.n == 6
    assert by_kind.interval is not None and by_kind.interval.low <= by_kind.mean <= by_kind.interval.high
    of_a = mean_score(scored(), lambda one: one.kind == "a")
    assert of_a.mean == 75 and of_a.interval is not None and (of_a.interval.low, of_a.interval.high) == (50, 100)
    assert mean_score(scored(scale=TEN)).mean == pytest.approx(1 + 9 * 2.75 / 6)
    one_task = mean_score(measured("x", {"a": (0, 1)}, rewards={"a/0": 0.3}))
    assert one_task.interval is None and one_task.text == "0.30"


def test_a_change_of_scores_is_paired_by_task() -> None:
    before = measured("science", {"a": (0, 2), "b": (1, 4)}, checkpoint="base", score=HUNDRED)
    change = score_change(before, scored())
    assert change is not None and change.mean == pytest.approx((75 + 6.25) / 2) and change.certain
    assert change.text.startswith("+40.6 (+6.2 to +75.0")
    assert score_change(before, measured("science", {"c": (1, 1)})) is None


def test_the_best_epoch_is_that_with_the_highest_score_where_it_is_the_figure() -> None:
    base = measured("science", {"a": (0, 2), "b": (0, 4)}, checkpoint="base", score=HUNDRED)
    solves = measured("science", {"a": (0, 2), "b": (2, 4)}, checkpoint="epoch-1", score=HUNDRED)
    scores = measured(
        "science", {"a": (1, 2), "b": (0, 4)}, checkpoint="epoch-2", rewards={"a/1": 0.9, "b/0": 0.5}, score=HUNDRED
    )
    (suite,) = suites([base, solves, scores])
    assert suite.best is scores
    shown = headline(suite)
    assert shown is not None and shown.scored is not None and shown.scored.best.mean == pytest.approx((95 + 12.5) / 2)
    whole = slices(suite)[0]
    assert [one.mean for one in whole.scores] == pytest.approx([0, 25, 53.75])
    assert whole.score_change is not None and whole.score_change.mean == pytest.approx(53.75)
    without = suites(
        [one.model_copy(update={"benchmark": measured("p", {"a": (1, 6)}).benchmark}) for one in (solves,)]
    )
    assert slices(without[0])[0].scores == []


def test_the_report_shows_scores_and_says_nothing_of_them_without(tmp_path: Path) -> None:
    base = measured("science", {"a": (0, 2), "b": (1, 4)}, checkpoint="base", score=HUNDRED)
    run = run_with(tmp_path / "run", base, scored())
    page = write_report(run).read_text()
    assert "score 53.1 (31.2 to 75.0)" in page and "Mean score, base model" in page
    text = (run / "report.md").read_text()
    assert "**Mean score 12.5 (0.0 to 25.0) → 53.1 (31.2 to 75.0)**" in text and "score +40.6" in text
    assert "53.1" in terminal_report(run)
    plain = run_with(tmp_path / "plain", measured("plain", {"a": (1, 2)}))
    assert "core" not in write_report(plain).read_text().partition("<body>")[2].replace("Tango’s score interval", "")


def test_exports_have_the_mean_score_and_its_scale(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", scored())
    export = CliRunner().invoke(app, ["results", "export", str(run), "--form", "csv"])
    rows = list(csv.DictReader(io.StringIO(export.output)))
    assert [row["tasks"] for row in rows] == ["All tasks", "Trained kinds", "Kind: a", "Kind: b"]
    assert float(rows[0]["score"]) == pytest.approx(53.125) and float(rows[0]["score to"]) == 75
    assert "53.1" in CliRunner().invoke(app, ["results", "export", str(run)]).output

    for form in ("hub", "every-eval-ever"):
        done = CliRunner().invoke(
            app, ["results", "export", str(run), "--form", form, "--to", str(tmp_path), "--hub-task", "science=a/b:c"]
        )
        assert done.exit_code == 0, done.output
    (entry,) = yaml.safe_load((tmp_path / ".eval_results" / "science.yaml").read_text())
    assert entry["value"] == 53.12 and "from 0 to 100" in entry["notes"]
    (path,) = (tmp_path / "data").rglob("*.json")
    content = json.loads(path.read_text())
    schema = Path(__file__).parents[1] / "data" / "every_eval_ever" / "eval.schema.json"
    jsonschema.Draft7Validator(json.loads(schema.read_text())).validate(content)
    success, score = content["evaluation_results"][:2]
    assert success["metric_config"]["metric_id"] == "accuracy"
    assert score["metric_config"]["max_score"] == 100 and score["score_details"]["score"] == pytest.approx(53.125)
    assert score["score_details"]["uncertainty"]["confidence_interval"]["method"] == "bootstrap"
    assert len({one["evaluation_result_id"] for one in content["evaluation_results"]}) == 8


def generate(split: str, count: int, seed: int, kinds: tuple[str, ...] | None = None) -> list[Task]:
    """Tasks for the sweep, found by the name of this module."""
    return [
        Task("scored", "k", split, "trained", f"t-{number}", f"Task {number}.", str(number), f"{__name__}:distance")
        for number in range(count)
    ]


def distance(proposed: str, reference: str) -> Verdict:
    """A reward that falls with the distance to the answer."""
    reward = max(0.0, 1 - abs(int(proposed) - int(reference)) / 4)
    return Verdict("right" if reward == 1 else "wrong", "by distance", reward)


SPEC = BenchmarkSpec(
    title="Distances",
    licence="Apache-2.0",
    tasks=TaskSet(family=f"{__name__}:generate", split="heldout", count=4),
    protocols={"code": "codeact"},
    size=4,
    score=ScoreScale(high=100),
)


def test_the_sweep_stores_rewards_and_the_scale_and_keeps_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.collect.run.run_jobs", run_here)
    out = tmp_path / "run" / "eval"
    out.mkdir(parents=True)

    def handle(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        return 200, json.dumps(chat_reply("<solution>1</solution>")).encode()

    def evaluate(url: str, benchmark: Benchmark) -> EvalResult:
        server = ServerSpec(name="weights", base_urls=(url,), model="m", retries=0)
        config = EvaluateConfig(benchmarks=(benchmark,))
        (result,) = evaluate_servers(config, EpisodeProtocol(), {"model": server}, out, lambda: None)
        return result

    with http_server(handle) as url:
        result = evaluate(url, Benchmark(name="distances", benchmark=f"{__name__}:SPEC", protocol=EpisodeProtocol()))
    assert result.benchmark.score == ScoreScale(high=100)
    assert [one.reward for one in result.episodes] == [0.75, None, 0.75, 0.5]
    assert mean_score(result).mean == 75 and sum(one.success for one in result.episodes) == 1
    unscaled = result.model_copy(update={"benchmark": result.benchmark.model_copy(update={"score": None})})
    assert unscaled.key == result.key
