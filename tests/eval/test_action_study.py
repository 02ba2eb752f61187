"""The study of action formats: its tables say what the models are, and its tests are those of paired samples."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import eval.sweep
from eval import CheckpointRef, EvaluateConfig, StudyConfig, measure_actions
from eval.parity import ParityReport
from eval.results import EvalResult
from eval.stats import compare_paired, wilson
from eval.study.actions import FORMATS, ActionStudy, study_of
from eval.study.config import StudyBenchmark
from launch.cli import app
from rollout import EpisodeProtocol, Sampling, Task, TaskSet, load_tasks
from rollout.engines import ServerSpec
from rollout.servers.scripted import Rule, Script, ScriptedBackend
from tests.eval.test_results import episode, result
from tests.helpers.local_episodes import run_here

SKILLS = {"coder": (4, 2, 1), "json-speaker": (0, 4, 1), "mute": (0, 0, 0)}
"""Model → tasks that it solves in code, JSON and text."""


def measured(solved: int, turns: int, sample: int = 0, tasks: int = 10) -> EvalResult:
    """A result in which the first ``solved`` tasks are solved."""
    done = tuple(episode(f"task-{i}", i < solved).model_copy(update={"steps": turns}) for i in range(tasks))
    return result(tasks=tasks, seed=sample).model_copy(update={"episodes": done})


def study(**solved: tuple[int, int, int]) -> ActionStudy:
    places = {
        (model, "bench", form): [measured(count, 5 - turn)]
        for model, counts in solved.items()
        for turn, (form, count) in enumerate(zip(FORMATS, counts, strict=True))
    }
    return study_of(places, ["other: there are no data"])


def test_rates_turns_and_tests_are_those_of_the_episodes() -> None:
    found = study(first=(9, 2, 2), second=(5, 5, 5))
    (bench,) = found.benchmarks
    assert bench.scores["first"]["code"].success == wilson(9, 10) and bench.scores["first"]["json"].turns == 4
    assert bench.best_success == {"code": 2, "json": 1, "text": 1} and bench.best_turns == {
        "code": 0,
        "json": 0,
        "text": 2,
    }
    assert len(bench.pairs) == 6
    pair = bench.pairs[0]
    alone = compare_paired([i < 9 for i in range(10)], [i < 2 for i in range(10)])
    assert (pair.gained, pair.lost, pair.difference, pair.p_value) == (0, 7, alone.difference, alone.p_value)
    assert pair.p_adjusted == pytest.approx(6 * pair.p_value) and bench.pairs[3].p_adjusted == 1.0
    text = found.markdown()
    assert "| first | **90.0** (" in text and "| second | **50.0** (" in text and text.count("**2.0**") == 0
    assert "**3.0**" in text and "Not measured: other: there are no data" in text
    assert json.loads(json.dumps(found.as_json()))["benchmarks"][0]["scores"]["first"]["code"]["solved"] == 9


def test_samples_of_a_task_are_not_taken_for_tasks() -> None:
    counts = {"code": (8, 6), "json": (4, 6), "text": (0, 0)}
    places = {("m", "b", form): [measured(n, 3, i) for i, n in enumerate(two)] for form, two in counts.items()}
    (bench,) = study_of(places).benchmarks
    code = bench.scores["m"]["code"]
    assert (code.solved, code.episodes, code.success.estimate) == (14, 20, pytest.approx(0.7))
    assert code.success.high - code.success.low > wilson(14, 20).high - wilson(14, 20).low
    pair = bench.pairs[0]
    assert (pair.gained, pair.lost, pair.difference.estimate) == (0, 4, pytest.approx(-0.2))
    assert pair.p_value == pytest.approx(2 * 0.5**4)


def script(name: str, tasks: list[Task], counts: tuple[int, int, int]) -> ScriptedBackend:
    """A model that plays the experts of its tasks and writes nothing of use elsewhere."""
    marks = {"code": "print what you want to see", "json": "as a JSON object", "text": "with commas between them"}
    protocols = ("m3tooleval", "m3tooleval-json", "m3tooleval-text")
    rules = []
    for form, protocol, count in zip(FORMATS, protocols, counts, strict=True):
        rules += [
            Rule(match=f"(?s){re.escape(marks[form])}.*{re.escape(task.prompt)}", reply=f"Answer: {task.solution}")
            for task in tasks[:count]
        ]
        assert marks[form] in EpisodeProtocol.model_validate(protocol).instructions
    return ScriptedBackend(Script(rules=(*rules, Rule(reply="I do not know.")), name=name))


def test_the_table_says_what_scripted_models_are(
    tmp_path: Path, serve_here: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = load_tasks(TaskSet(family="tool_suite", split="test", count=82))
    chosen = [suite[index * 82 // 4] for index in range(4)]
    there, absent = {"name": "tool_suite", "tasks": 4}, {"name": "m3tooleval", "data_root": str(tmp_path / "none")}
    engines = {
        name: {"base_urls": [serve_here(script(name, chosen, counts))], "model": name}
        for name, counts in SKILLS.items()
    }
    config = {
        "run": str(tmp_path / "run"),
        "engines": engines,
        "study": {"models": list(SKILLS), "benchmarks": [there, absent]},
        "evaluate": {"workers": {"warm_kernels": 2, "kernel_memory_mib": 256}},
    }
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(config))
    monkeypatch.setattr("eval.sweep.run_missing", run_here)
    monkeypatch.setattr("launch.study.ray_session", nullcontext)
    done = CliRunner().invoke(app, ["study", "actions", str(path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (bench,) = found["benchmarks"]
    for model, counts in SKILLS.items():
        scores = bench["scores"][model]
        assert tuple(scores[form]["solved"] for form in FORMATS) == counts
        assert [scores[form]["turns"] for form in FORMATS] == pytest.approx([(n + 10 * (4 - n)) / 4 for n in counts])
    assert bench["best_success"] == {"code": 2, "json": 2, "text": 1} and bench["tasks"] == 4
    assert len(found["missing"]) == 1 and found["missing"][0].startswith("m3tooleval: ")
    assert bench["pairs"][0]["gained"] == 0 and bench["pairs"][0]["lost"] == 2
    assert json.loads((tmp_path / "run" / "eval" / "study" / "actions.json").read_text()) == found

    monkeypatch.setattr("eval.sweep.run_missing", lambda *arguments: pytest.fail("an episode is run twice"))
    again = CliRunner().invoke(app, ["study", "actions", str(path)])
    assert again.exit_code == 0, again.output
    assert "| coder | **100.0** (" in again.stdout and "models for which it is best" in again.stdout


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"models": ["nowhere"]}, "study.models: 'nowhere' is none of base, trained"),
        ({"models": ["trained"]}, "study.models: trained: no export in"),
        ({"benchmarks": [{"name": "procedural-heldout"}]}, "has no protocols for code, json, text; choose from"),
        ({"samples": 2}, "study.samples=2: episodes drawn at temperature 0 are all the same"),
        ({"models": ["base", "base"]}, "names one twice"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    engines = {"there": {"base_urls": ["http://127.0.0.1:9/v1"], "model": "m"}}
    path = tmp_path / "study.yaml"
    values = {"run": str(tmp_path / "run"), "engines": engines, "study": {"models": ["there"]} | changes}
    path.write_text(json.dumps(values))
    done = CliRunner().invoke(app, ["study", "actions", str(path)])
    assert done.exit_code == 2 and says in " ".join(done.output.split())
    assert Sampling().temperature == 0


def test_a_checkpoint_is_served_once_for_all_formats_and_samples(
    tmp_path: Path, serve_here: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve_here(ScriptedBackend(Script(rules=(Rule(reply="Answer: 7919"),))))
    served: list[str] = []

    @contextmanager
    def serve(checkpoint: CheckpointRef) -> Iterator[ServerSpec]:
        served.append(checkpoint.name)
        yield ServerSpec(name=checkpoint.digest, base_urls=(url,), model="scripted", api_key_env=None)

    def agrees(url: str, folder: Path, *, tolerance: float) -> ParityReport:
        return ParityReport(1, 0.0, 0.0, 0, tolerance)

    monkeypatch.setattr(eval.sweep, "require_parity", agrees)
    monkeypatch.setattr(eval.sweep, "run_missing", run_here)
    config = StudyConfig(
        benchmarks=(StudyBenchmark(name="tool_suite", tasks=2),), samples=2, sampling=Sampling(temperature=0.5)
    )
    models = [CheckpointRef(name=name, digest=name, epoch=0, path=".") for name in ("base", "trained")]
    found = measure_actions(config, EvaluateConfig(), models, {}, tmp_path, serve, list, {})
    assert served == ["base", "trained"] and found.samples == 2
    scores = found.benchmarks[0].scores["base"]["code"]
    assert (scores.solved, scores.episodes, scores.turns) == (0, 4, 10)
