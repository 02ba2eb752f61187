"""Failures of server, kernel and grader stand apart from the score: no zero, a list, and another attempt."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from eval import Benchmark, EvaluateConfig, evaluate_servers
from eval.report import terminal_report, write_report
from eval.report.success import grid, headline, slices, suites
from eval.results import EvalResult, UnscoredEpisode, read_result, read_results, write_result
from rollout import EpisodeJob, EpisodeProtocol, TaskSet, Trajectory, WorkerConfig, run_episode
from rollout.engines import ServerSpec
from tests.eval.test_results import result
from tests.helpers.fake_server import NoKernels, chat_reply, http_server
from tests.helpers.unscored import BROKEN_GRADER, TASKS


def without(whole: EvalResult, *tasks: str) -> EvalResult:
    """The result with no verdict on these tasks."""
    kept = tuple(one for one in whole.episodes if one.task_id not in tasks)
    unscored = tuple(UnscoredEpisode(task_id=task, reason="the server is gone") for task in tasks)
    return EvalResult.model_validate(whole.model_dump(by_alias=True) | {"episodes": kept, "unscored": unscored})


def run_here(jobs: Sequence[EpisodeJob], workers: WorkerConfig, protocol: EpisodeProtocol) -> Iterator[Trajectory]:
    """The episodes in this process, each attempted once; tests of the workers show that they try again."""
    for job in jobs:
        engine = job.engine.build(job.task)
        yield asyncio.run(run_episode(job.task, engine, NoKernels(), protocol, job.sampling, job.seed))


def test_a_sweep_lists_what_has_no_verdict_and_the_same_command_runs_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.collect.run.run_jobs", run_here)
    out = tmp_path / "run" / "eval"
    out.mkdir(parents=True)
    (tmp_path / BROKEN_GRADER).touch()
    asked: Counter[str] = Counter()
    down = {"Task 3."}

    def handle(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        prompt = json.loads(body)["messages"][-1]["content"]
        asked[prompt] += 1
        if any(task in prompt for task in down):
            return 500, b'{"error": {"message": "the server is out of memory"}}'
        return 200, json.dumps(chat_reply("<solution>1</solution>")).encode()

    def evaluate(url: str, share: float) -> EvalResult:
        family = "tests.helpers.unscored:generate"
        tasks = TaskSet(family=family, split=str(tmp_path), count=TASKS)
        config = EvaluateConfig(benchmarks=(Benchmark(name="failing", tasks=tasks),), max_unscored_share=share)
        server = ServerSpec(name="weights", base_urls=(url,), model="m", retries=0)
        (measured,) = evaluate_servers(config, EpisodeProtocol(), {"model": server}, out, lambda: None)
        return measured

    with http_server(handle) as url:
        with pytest.raises(ValueError, match=r"2 of 5 episodes were lost .*; finished episodes are kept"):
            evaluate(url, share=0.0)
        with pytest.raises(ValueError, match=r"more than evaluate.max_unscored_share=0.3 allows"):
            evaluate(url, share=0.3)
        assert not list(out.glob("results/*")) and asked["Task:\nTask 3."] == 2
        partial = evaluate(url, share=0.4)
        down.clear()
        (tmp_path / BROKEN_GRADER).unlink()
        whole = evaluate(url, share=0.4)
    assert {one.task_id: one.success for one in partial.episodes} == {"t-0": True, "t-1": False, "t-2": True}
    assert [one.task_id for one in partial.unscored] == ["t-3", "t-4"]
    assert "out of memory" in partial.unscored[0].reason and "killed" in partial.unscored[1].reason
    assert not whole.unscored and sum(one.success for one in whole.episodes) == 4 and whole.key == partial.key
    assert [read_result(path) for path in out.glob("results/*.json")] == [whole]
    assert asked["Task:\nTask 0."] == 1  # what has a verdict is not run again


def test_a_result_is_stored_with_what_has_no_verdict_and_old_ones_stay_as_they_are(tmp_path: Path) -> None:
    assert "unscored" not in result().model_dump_json()
    partial = without(result(), "task-1")
    assert partial.key == result().key
    write_result(tmp_path, partial)
    assert read_results(tmp_path) == [partial]
    assert partial.without_verdict == "1 of 3 without a verdict: 1 × the server is gone"
    with pytest.raises(ValueError, match="no task has a verdict"):
        without(result(), "task-0", "task-1", "task-2")
    with pytest.raises(ValueError, match="'task-0' occurs 2 times"):
        EvalResult.model_validate(
            result().model_dump(by_alias=True) | {"unscored": [{"task_id": "task-0", "reason": "gone"}]}
        )


def test_rates_and_comparisons_use_the_tasks_that_have_a_verdict() -> None:
    base, better = without(result(tasks=6), "task-0"), without(result("epoch-1", 1, tasks=6), "task-1", "task-2")
    (suite,) = suites([base, better])
    (everything, *_) = slices(suite)
    assert [(rate.solved, rate.n) for rate in everything.rates] == [(5, 5), (4, 4)]
    summary = headline(suite)
    assert summary is not None and summary.change.n == 3
    (block,) = grid(suite)
    missing = {name: [solved for solved, _ in cells].count(None) for name, cells in block.rows}
    assert missing == {"base": 1, "epoch-1": 2}


def test_the_reports_show_what_has_no_verdict_beside_the_score(tmp_path: Path) -> None:
    write_result(tmp_path / "eval" / "results", without(result(tasks=6), "task-0", "task-1"))
    page = write_report(tmp_path).read_text()
    sentence = "base: 2 of 6 without a verdict: 2 × the server is gone"
    assert sentence in page and sentence in (tmp_path / "report.md").read_text()
    assert sentence in " ".join(terminal_report(tmp_path).split())


def test_a_share_of_one_half_is_refused() -> None:
    with pytest.raises(ValueError, match=r"less than 0\.5"):
        EvaluateConfig(max_unscored_share=0.5)
