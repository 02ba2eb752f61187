"""Measures a study: each model, benchmark and action format through the sweep.

Contract: results and bank are those of :mod:`eval.sweep`, below the folder of the study. What is there is not measured
again. A benchmark whose data are missing is a sentence in the result, and the others are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from eval.benchmarks import BENCHMARKS, Benchmark
from eval.benchmarks.spec import BenchmarkSpec
from eval.config import EvaluateConfig
from eval.results import CheckpointRef, EvalResult
from eval.study.actions import FORMATS, ActionStudy, study_of
from eval.study.config import StudyBenchmark, StudyConfig
from eval.sweep import Serve, evaluate_checkpoints, evaluate_servers
from rollout import EpisodeProtocol, Task
from rollout.engines import JudgeSpec, ServerSpec
from rollout.families import MissingDataError


class _Part(Benchmark):
    """Some tasks of a registered benchmark under one protocol. They are loaded once for all formats and models."""

    _tasks: list[Task] = PrivateAttr(default_factory=list)

    def load(self) -> list[Task]:
        """Its tasks."""
        return self._tasks


def measure_actions(
    study: StudyConfig,
    evaluate: EvaluateConfig,
    checkpoints: Sequence[CheckpointRef],
    servers: Mapping[str, ServerSpec],
    out: Path,
    serve: Serve,
    session: Callable[[], object],
    engine: Mapping[str, Any],
    judge: JudgeSpec | None = None,
) -> ActionStudy:
    """Runs the missing episodes of every model, benchmark and format, and compares the formats.

    Args:
        evaluate: workers, seed of the first sample, and the tolerance of the export gate.
        checkpoints: the models whose weights are here.
        servers: name → a model behind a server that runs already.
        out: ``results/`` and ``bank/`` are written below it.
        serve, session, engine, judge: as :func:`eval.sweep.evaluate_checkpoints` and ``evaluate_servers`` take them.

    Raises:
        ValueError: a benchmark has no protocol of a format, no benchmark has its data on this machine, or as the
            sweep raises.
    """
    parts, missing = _parts(study)
    if not parts:
        raise ValueError(f"study.benchmarks: nothing can be measured here: {'; '.join(missing)}")
    chosen = tuple(part for formats in parts.values() for part in formats.values())
    update = {"benchmarks": chosen, "base_protocols": (), **({"sampling": study.sampling} if study.sampling else {})}
    configs = [evaluate.model_copy(update=update | {"seed": evaluate.seed + sample}) for sample in range(study.samples)]
    measured: dict[str, list[list[EvalResult]]] = {}
    protocol = EpisodeProtocol()  # each part has its own
    for checkpoint in checkpoints:
        with ExitStack() as running:
            kept = _served_once(serve, running)
            measured[checkpoint.name] = [
                evaluate_checkpoints(config, protocol, [checkpoint], out, kept, dict(engine), judge)
                for config in configs
            ]
    for name, server in servers.items():
        measured[name] = [evaluate_servers(config, protocol, {name: server}, out, session, judge) for config in configs]
    order = [(name, form) for name, formats in parts.items() for form in formats]
    by_place = {
        (model, *place): [results[index] for results in samples]
        for model, samples in measured.items()
        for index, place in enumerate(order)
    }
    return study_of(by_place, missing)


def _parts(study: StudyConfig) -> tuple[dict[str, dict[str, _Part]], list[str]]:
    """Benchmark → format → what is measured, and a sentence for each benchmark without its data."""
    parts: dict[str, dict[str, _Part]] = {}
    missing = []
    for number, one in enumerate(study.benchmarks):
        spec = _spec(one.name, f"study.benchmarks.{number}.name")
        try:
            tasks = spec.load(one.data_root)
        except MissingDataError as fault:
            missing.append(f"{one.name}: {fault}")
            continue
        count = min(one.tasks or len(tasks), len(tasks))
        chosen = [tasks[index * len(tasks) // count] for index in range(count)]
        parts[one.name] = {form: _part(one, spec.protocols[form], study, chosen) for form in FORMATS}
    return parts, missing


def _part(one: StudyBenchmark, protocol: str, study: StudyConfig, tasks: list[Task]) -> _Part:
    part = _Part(name=one.name, protocol=EpisodeProtocol.model_validate(protocol), sampling=study.sampling)
    part._tasks = tasks
    return part


def _spec(name: str, key: str) -> BenchmarkSpec:
    spec = BENCHMARKS.get(name)
    if isinstance(spec, BenchmarkSpec) and set(FORMATS) <= set(spec.protocols):
        return spec
    parts = {other: BENCHMARKS.get(other) for other in BENCHMARKS.names()}
    known = [
        other
        for other, part in parts.items()
        if isinstance(part, BenchmarkSpec) and set(FORMATS) <= set(part.protocols)
    ]
    raise ValueError(f"{key}: {name} has no protocols for {', '.join(FORMATS)}; choose from: {', '.join(known)}")


def _served_once(serve: Serve, running: ExitStack) -> Serve:
    """A server that is started when it is first asked for, and ends with ``running``."""
    started: list[ServerSpec] = []

    def kept(checkpoint: CheckpointRef) -> AbstractContextManager[ServerSpec]:
        if not started:
            started.append(running.enter_context(serve(checkpoint)))
        return nullcontext(started[0])

    return kept
