"""The sweep: every checkpoint on every benchmark; nothing is computed twice.

Contract: a result file exists only when its episodes are done, but for ``evaluate.max_unscored_share``. Finished
episodes of an unfinished result are in the evaluation bank and are not run again. All checkpoints get the same prompts,
limits and decoding. Before a checkpoint is measured, the server's log-probabilities are compared with those of
transformers (:mod:`eval.parity`), so that a wrong export or server is not measured. The caller decides how a checkpoint
is served.

An episode whose server, kernel or grader failed at every attempt has no score and is never counted as a failure. More
of them than ``max_unscored_share`` stop the sweep; fewer are listed in the result. The same command runs them again and
replaces the result.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from eval.benchmarks import Benchmark, benchmark_digest
from eval.config import EvaluateConfig
from eval.parity import require_parity
from eval.results import (
    BenchmarkRef,
    CheckpointRef,
    EpisodeResult,
    EvalResult,
    UnscoredEpisode,
    read_result,
    result_key,
    result_path,
    write_result,
)
from rollout import (
    EpisodeJob,
    EpisodeProtocol,
    Sampling,
    Task,
    Trajectory,
    digest_of,
    judge_for,
    lost_sentence,
    run_missing,
)
from rollout.engines import JudgeSpec, ServerSpec

Serve = Callable[[CheckpointRef], AbstractContextManager[ServerSpec]]
"""A context manager that serves a checkpoint."""


def evaluate_checkpoints(
    config: EvaluateConfig,
    protocol: EpisodeProtocol,
    checkpoints: Sequence[CheckpointRef],
    out: Path,
    serve: Serve,
    engine: Mapping[str, Any],
    judge: JudgeSpec | None = None,
) -> list[EvalResult]:
    """Measures every checkpoint on every benchmark, and the base model also under ``base_protocols``.

    Args:
        out: ``results/`` and ``bank/`` are written below it.
        serve: serves a checkpoint; called only when one of its results is missing.
        engine: how checkpoints are served (software, versions, precision), stored with each result.
        judge: for the tasks and protocols that need one.

    Raises:
        ValueError: the probabilities of a server differ from those of the checkpoint, or too many episodes were
            lost to the infrastructure.
    """
    results = []
    for checkpoint in checkpoints:
        measurements = [
            _Measurement(config, protocol, checkpoint, benchmark, out, judge) for benchmark in config.benchmarks
        ]
        if checkpoint.epoch == 0:
            measurements += [
                _Measurement(config, other, checkpoint, benchmark, out, judge)
                for other in config.base_protocols
                for benchmark in config.benchmarks
                if benchmark.protocol_or(other) is other and other.ref != protocol.ref
            ]
        missing = [one for one in measurements if not one.complete]
        if missing:
            with serve(checkpoint) as server:
                parity = require_parity(server.base_urls[0], Path(checkpoint.path), tolerance=config.parity_tolerance)
                for measurement in missing:
                    measurement.measure(server, {**engine, "parity": dataclasses.asdict(parity)})
        results += [read_result(one.path) for one in measurements]
    return results


def evaluate_servers(
    config: EvaluateConfig,
    protocol: EpisodeProtocol,
    servers: Mapping[str, ServerSpec],
    out: Path,
    session: Callable[[], object],
    judge: JudgeSpec | None = None,
) -> list[EvalResult]:
    """Measures models whose weights are not here, behind servers that run already, on every benchmark.

    There is nothing to compare their probabilities with. The name of the model stands for its weights.

    Args:
        servers: name for the results → server.
        out: ``results/`` and ``bank/`` are written below it.
        session: called before episodes run, and only when some are missing.
        judge: for the tasks and protocols that need one.

    Raises:
        ValueError: too many episodes were lost to the infrastructure.
    """
    results = []
    for name, server in servers.items():
        model = CheckpointRef(name=name, digest=digest_of(["engine", server.name]), epoch=0, path="")
        engine = {"backend": "running server", "model": server.model, "tokenizer": server.tokenizer}
        measurements = [_Measurement(config, protocol, model, one, out, judge) for one in config.benchmarks]
        for measurement in measurements:
            if not measurement.complete:
                session()
                measurement.measure(server, engine)
            results.append(read_result(measurement.path))
    return results


class _Found:
    """The episodes of a measurement without their transcripts: those of 100,000 would take gigabytes of memory."""

    def __init__(self, wanted: Collection[str], of: Callable[[Trajectory], EpisodeResult]) -> None:
        self._wanted, self._of = wanted, of
        self.episodes: dict[str, EpisodeResult] = {}
        self.isolation = ""

    def see(self, record: Trajectory) -> None:
        """Keeps what the result needs of a record of the bank."""
        if record.id in self._wanted:
            self.episodes[record.id], self.isolation = self._of(record), record.isolation


class _Measurement:
    """One checkpoint on one benchmark, measured or not."""

    def __init__(
        self,
        config: EvaluateConfig,
        protocol: EpisodeProtocol,
        checkpoint: CheckpointRef,
        benchmark: Benchmark,
        out: Path,
        judge: JudgeSpec | None,
    ) -> None:
        protocol = benchmark.protocol_or(protocol)
        self._config, self._protocol, self._checkpoint, self._out = config, protocol, checkpoint, out
        self._tasks, self._place = benchmark.load(), benchmark.place
        for task in self._tasks:
            protocol.check_task(task.id, task.choices, 1 + len(task.followups))
        self._judges = [judge_for(task, protocol, judge) for task in self._tasks]
        self._judge = next((one.name for one in self._judges if one), None)
        self._benchmark = BenchmarkRef(
            name=benchmark.name,
            digest=benchmark_digest(self._tasks, benchmark.temperatures),
            tasks=len(self._tasks),
            score=benchmark.spec.score if benchmark.spec else None,
            samples=benchmark.episodes_each,
            temperatures=dict(benchmark.temperatures),
        )
        self._sampling = benchmark.sampling_or(config.sampling).model_copy(update={"seed": config.seed})
        if self._benchmark.samples > 1 and self._sampling.temperature == 0:
            raise ValueError(
                f"evaluate.benchmarks: {benchmark.name} has samples={self._benchmark.samples}, all of which are the "
                "same at temperature 0; set its sampling, such as {temperature: 0.2, max_tokens: 512}, or samples: 1"
            )
        key = result_key(
            checkpoint.digest,
            self._benchmark.digest,
            protocol.ref.digest,
            self._sampling,
            config.seed,
            self._judge,
            self._benchmark.samples,
        )
        self.path = result_path(out / "results", key)

    @property
    def complete(self) -> bool:
        """Whether there is a result in which every task has a verdict."""
        return self.path.exists() and not read_result(self.path).unscored

    def measure(self, server: ServerSpec, engine: dict[str, Any]) -> None:
        """Runs the missing episodes, then writes the result."""
        started, clock = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), time.monotonic()
        jobs = [
            EpisodeJob(task, server, self._drawn(task, seed), seed, judge)
            for seed in range(self._config.seed, self._config.seed + self._benchmark.samples)
            for task, judge in zip(self._tasks, self._judges, strict=True)
        ]
        ids = [job.id(self._protocol) for job in jobs]
        found = _Found(set(ids), self._episode)
        title = f"evaluate {self._checkpoint.name}"
        lost = run_missing(jobs, self._config.workers, self._protocol, self._out / "bank", title, found.see)
        self._check_share(lost, title)
        earlier = read_result(self.path) if self.path.exists() else None
        write_result(
            self.path.parent,
            EvalResult(
                schema=1,
                checkpoint=self._checkpoint,
                benchmark=self._benchmark,
                protocol=self._protocol.ref,
                sampling=self._sampling,
                seed=self._config.seed,
                engine=engine,
                judge=self._judge,
                isolation=found.isolation,
                started_at=earlier.started_at if earlier else started,
                wall_s=round(time.monotonic() - clock + (earlier.wall_s if earlier else 0.0), 3),
                episodes=tuple(found.episodes[id] for id in ids if id not in lost),
                unscored=tuple(
                    UnscoredEpisode(
                        task_id=self._place(job.task.ref).get("task_id", job.task.id),
                        sample=job.seed - self._config.seed,
                        reason=lost[id],
                    )
                    for job, id in zip(jobs, ids, strict=True)
                    if id in lost
                ),
            ),
        )

    def _drawn(self, task: Task, seed: int) -> Sampling:
        """How the completions of an episode are drawn."""
        temperature = self._benchmark.temperatures.get(task.kind, self._sampling.temperature)
        return self._sampling.model_copy(update={"seed": seed, "temperature": temperature})

    def _episode(self, record: Trajectory) -> EpisodeResult:
        legacy = self._config.workers.legacy_verdicts
        sample = record.seed - self._config.seed
        return EpisodeResult.from_trajectory(record, legacy=legacy, place=self._place(record.task), sample=sample)

    def _check_share(self, lost: Mapping[str, str], title: str) -> None:
        """Raises ValueError when too many episodes have no verdict for a result."""
        share, episodes = self._config.max_unscored_share, len(self._tasks) * self._benchmark.samples
        if len(lost) <= share * episodes:
            return
        allowed = f", more than evaluate.max_unscored_share={share:g} allows" if share else ""
        raise ValueError(
            f"{title}: {lost_sentence(lost, episodes)}{allowed}; finished episodes are kept: mend the cause, then the "
            "same command runs the others"
        )
