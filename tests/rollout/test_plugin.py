"""A package outside the tree (``tests/plugin``) adds one part of each kind; collection and evaluation run with them."""

import json
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import eval.sweep
from eval import BENCHMARKS, Benchmark, CheckpointRef, EvaluateConfig, evaluate_checkpoints
from eval.parity import ParityReport
from launch.config import validate
from rollout import (
    ENGINES,
    GRADERS,
    KERNEL_SOURCES,
    TASK_FAMILIES,
    CollectConfig,
    EpisodeProtocol,
    Registry,
    Source,
    TaskSet,
    WorkerConfig,
    collect_trajectories,
    ray_session,
    read_trajectories,
)
from rollout.engines import ServerSpec
from rollout.servers.scripted import Rule, Script, ScriptedBackend

PLUGIN = Path(__file__).parent.parent / "plugin"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the package: its module on the path, and beside it the metadata that an installer writes."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    (tmp_path / "sums_plugin.py").write_text((PLUGIN / "sums_plugin.py").read_text())
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for group, parts in groups for line in (f"[{group}]", *(f"{n} = {v}" for n, v in parts.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (TASK_FAMILIES, GRADERS, ENGINES, KERNEL_SOURCES, BENCHMARKS):
        monkeypatch.setattr(registry, "_loaded", {})
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")  # for Ray's workers


@pytest.mark.usefixtures("plugin")
def test_collect_and_evaluate_run_with_parts_of_an_installed_package(
    tmp_path: Path, serve_here: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = WorkerConfig(kernel_source="in_process")
    tasks = TaskSet(family="sums", count=3, seed=5)
    sources = (
        Source(engine="adder", tasks=tasks),
        Source(engine="adder", engine_options={"off_by": 2}, tasks=tasks),
    )
    config = CollectConfig(sources=sources, workers=workers)
    script = Script(rules=(Rule(reply="<solution>9</solution>"),))
    url = serve_here(ScriptedBackend(script))

    @contextmanager
    def serve(checkpoint: CheckpointRef) -> Iterator[ServerSpec]:
        yield ServerSpec(name=checkpoint.digest, base_urls=(url,), model="scripted")

    def agrees(url: str, folder: Path, *, tolerance: float) -> ParityReport:
        return ParityReport(1, 0.0, 0.0, 0, tolerance)

    monkeypatch.setattr(eval.sweep, "require_parity", agrees)
    checkpoint = CheckpointRef(name="base", digest="d", epoch=0, path=str(tmp_path))
    measured = EvaluateConfig(benchmarks=(Benchmark(name="sums-heldout"),), workers=workers)
    with ray_session():
        reasons = collect_trajectories(config, EpisodeProtocol(), tmp_path / "bank")
        (result,) = evaluate_checkpoints(measured, EpisodeProtocol(), [checkpoint], tmp_path / "eval", serve, {})
    assert reasons == {"solved": 3, "wrong_answer": 3}
    records = list(read_trajectories(tmp_path / "bank"))
    assert sorted(record.outcome.reward for record in records) == [0.8] * 3 + [1.0] * 3
    assert {(record.task.family, record.isolation) for record in records} == {("sums", "none")}
    assert [(episode.group, episode.success) for episode in result.episodes] == [
        ("easy", False), ("easy", False), ("easy", True), ("easy", False),
    ]  # fmt: skip


@pytest.mark.usefixtures("plugin")
def test_a_configuration_names_registered_parts() -> None:
    source = {"engine": "adder", "engine_options": {"off_by": 1}, "tasks": {"family": "sums"}}
    collect = {"sources": [source], "workers": {"kernel_source": "in_process", "kernel_options": {"any": 1}}}
    config = validate({"collect": collect, "evaluate": {"benchmarks": [{"name": "sums-heldout"}]}}, "a.yaml")
    assert config.collect.sources[0].engine == "adder" and not config.collect.needs_model


@pytest.mark.usefixtures("plugin")
def test_a_part_that_cannot_be_loaded_names_its_package() -> None:
    assert GRADERS.check("broken") == "broken"  # a check imports nothing
    with pytest.raises(
        ValueError, match=r"the grader 'broken' of codeact-sums 1\.0 cannot be loaded from sums_plugin:"
    ):
        GRADERS.get("broken")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            {"collect": {"sources": [{"tasks": {"family": "x"}}]}},
            "'x' is not a registered task family; known: .*procedural",
        ),
        ({"collect": {"sources": [{"engine": "x"}]}}, "'x' is not a registered engine; known: expert, model"),
        (
            {"collect": {"workers": {"kernel_source": "x"}}},
            "kernel source; known: local, service; .*codeact.kernel_sources",
        ),
        (
            {"evaluate": {"benchmarks": [{"name": "x"}]}},
            "'x' is not a registered benchmark; known: .*procedural-heldout",
        ),
        ({"collect": {"sources": [{"engine_options": {"a": 1}}]}}, "the engine 'expert' has none"),
        ({"collect": {"workers": {"kernel_options": {"a": 1}}}}, "the kernel source 'local' has none"),
        ({"collect": {"workers": {"kernel_source": "service"}}}, "needs the address in service"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        validate(section, "a.yaml")


def test_a_part_is_added_by_hand_once() -> None:
    registry = Registry("codeact.tests", "thing", {"built-in": "json:loads"})
    registry.add("mine", len)
    assert registry.get("mine") is len and registry.names() == ["built-in", "mine"]
    assert registry.get("json:dumps") is json.dumps and registry.names() == ["built-in", "mine"]
    for taken in ("mine", "built-in"):
        with pytest.raises(ValueError, match="is registered already"):
            registry.add(taken, len)
