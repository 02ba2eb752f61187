"""The base model under several protocols: measured beside the run's, and a row of its own in the report."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import eval.sweep
from eval import Benchmark, CheckpointRef, EvaluateConfig, evaluate_checkpoints
from eval.parity import ParityReport
from eval.report import terminal_report, write_report
from eval.report.fair_base import with_base_rows
from eval.report.success import suites
from eval.results import EvalResult, read_results, write_result
from launch.config import ConfigError, dump, validate
from rollout import EpisodeProtocol, ProtocolRef, TaskSet
from rollout.engines import ServerSpec
from rollout.protocol import find_example
from rollout.servers.scripted import Rule, Script, ScriptedBackend
from tests.helpers.local_episodes import run_here


def under(protocol: str, base: EvalResult, solved: int, hour: int = 12) -> EvalResult:
    """The base model's result under another protocol: the first tasks are solved."""
    episodes = tuple(
        one.model_copy(update={"success": i < solved, "reason": "solved" if i < solved else "max_steps"})
        for i, one in enumerate(base.episodes)
    )
    ref = ProtocolRef(name=protocol, digest=f"digest-{protocol}")
    return base.model_copy(
        update={"protocol": ref, "episodes": episodes, "started_at": f"2026-08-14T{hour}:00:00+00:00"}
    )


def test_the_report_separates_format_from_skill(whole_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole_run, tmp_path / "run"))
    results = read_results(run / "eval" / "results")
    (before,) = suites(results)
    base, best = before.base, before.best
    assert base is not None and best is not None and with_base_rows([before]) == [(before, None)]
    for hour, protocol, solved in ((12, "fenced", 12), (13, "with an example", 9)):
        write_result(run / "eval" / "results", under(protocol, base, solved, hour))
    ((suite, fair),) = with_base_rows(suites(read_results(run / "eval" / "results")))
    assert suite.results == before.results and fair is not None
    assert [row.protocol for row in fair.rows] == ["codeact", "fenced", "with an example"]
    assert fair.best_protocol == "fenced" and fair.best_name == best.checkpoint.name
    n, solved = len(base.episodes), sum(one.success for one in best.episodes)
    assert fair.format_gain == pytest.approx((12 - sum(one.success for one in base.episodes)) / n)
    assert fair.skill_gain == pytest.approx((solved - 12) / n)
    write_report(run)
    for text in ((run / "report.md").read_text(), (run / "report.html").read_text(), terminal_report(run)):
        plain = " ".join(text.split())
        assert "fenced" in plain and "with an example" in plain and "gain in skill" in plain
    assert (run / "report.md").read_text().count("## Success on") == 1


def test_before_training_the_protocol_of_the_run_comes_first(whole_run: Path) -> None:
    (suite,) = suites(read_results(whole_run / "eval" / "results"))
    assert suite.base is not None
    ((shown, fair),) = with_base_rows(suites([under("fenced", suite.base, 12), suite.base]))
    assert shown.results == [suite.base] and fair is not None and fair.skill_gain is None
    assert [row.protocol for row in fair.rows] == ["codeact", "fenced"] and fair.rows[1].change is None


def test_only_the_base_model_is_measured_under_them(
    tmp_path: Path, serve_here: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve_here(ScriptedBackend(Script(rules=(Rule(reply="<solution>0</solution>"),))))

    @contextmanager
    def serve(checkpoint: CheckpointRef) -> Iterator[ServerSpec]:
        yield ServerSpec(name=checkpoint.digest, base_urls=(url,), model="scripted", api_key_env=None)

    def agrees(url: str, folder: Path, *, tolerance: float) -> ParityReport:
        return ParityReport(1, 0.0, 0.0, 0, tolerance)

    monkeypatch.setattr(eval.sweep, "require_parity", agrees)
    config = EvaluateConfig(
        benchmarks=(Benchmark(name="two", tasks=TaskSet(split="heldout", count=2, kinds=("math",))),),
        base_protocols=(EpisodeProtocol.model_validate("fenced"), EpisodeProtocol()),
    )
    checkpoints = [CheckpointRef(name=f"c{epoch}", digest=f"d{epoch}", epoch=epoch, path=".") for epoch in (0, 1)]
    monkeypatch.setattr(eval.sweep, "run_missing", run_here)
    results = evaluate_checkpoints(config, EpisodeProtocol(), checkpoints, tmp_path, serve, {})
    assert [(one.checkpoint.epoch, one.protocol.name) for one in results] == [
        (0, "codeact"),
        (0, "fenced"),
        (1, "codeact"),
    ]


def test_the_word_run_stands_for_the_protocol_of_the_run() -> None:
    values = {
        "protocol": {"name": "short", "max_steps": 3},
        "evaluate": {"base_protocols": ["fenced", {"extends": "run", "example": "every"}]},
    }
    config = validate(values, "test")
    fenced, own = config.evaluate.base_protocols
    assert fenced == EpisodeProtocol.model_validate("fenced")
    assert (own.name, own.max_steps, own.example) == ("short, with an example", 3, "every")
    (system, _) = own.prompt("Do it.", {}, "procedural", "table")
    assert "The pandas table df lists rentals." in system.content and "<solution>\n84\n</solution>" in system.content
    assert "base_protocols" in dump(config) and "base_protocols" not in dump(validate({}, "test"))
    with pytest.raises(ConfigError, match="neither a shipped protocol nor a file"):
        validate({"evaluate": {"base_protocols": ["walk"]}}, "test")


def test_examples_of_our_own_families_change_no_digest_of_before() -> None:
    assert find_example("procedural", "table") is None and find_example("procedural", "table", every=True) is not None
    assert EpisodeProtocol.model_validate("mint").ref.digest == MINT_DIGEST
    with_one, with_every = (EpisodeProtocol(example=value).ref.digest for value in (True, "every"))
    assert len({with_one, with_every, EpisodeProtocol().ref.digest}) == 3


MINT_DIGEST = "ba3c20cacf69d097"
