"""Results: what one checkpoint did on one benchmark, stored as one file.

Contract: one file per (checkpoint digest × benchmark digest × protocol digest × sampling × seed), named by the digest
of that key and written atomically. A result whose file exists is not computed again, unless tasks of it have
no verdict yet. A damaged file, or one under another key's name, is a ``ValueError`` that says which file to delete.
``docs/reference/files.md`` documents the form.
Cost: one read and one validation per file, about 0.1 ms per episode.

Does not do: run episodes (``eval.sweep``), compare checkpoints (``eval.stats``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from eval.scale import ScoreScale
from rollout import ProtocolRef, Reason, Sampling, StoredModel, Trajectory, digest_of, write_atomically

NO_PLACE: Mapping[str, str] = MappingProxyType({})
SHOWN_CAUSES = 3
"""Causes that a sentence names."""
SHOWN_CHARS = 160
"""Longest part of a cause in a sentence."""


class CheckpointRef(StoredModel):
    """The weights that were measured. The base model is ``name="base", epoch=0``."""

    name: str
    digest: str
    epoch: int = Field(ge=0)
    path: str


class BenchmarkRef(StoredModel):
    """The tasks; ``digest`` changes when any of them does."""

    name: str
    digest: str
    tasks: int = Field(ge=1)
    score: ScoreScale | None = Field(None, exclude_if=lambda value: value is None)
    """The scale of its score, where the mean score is its figure; null: the share of solved tasks is."""
    samples: int = Field(1, ge=1, exclude_if=lambda value: value == 1)
    """Episodes of each task."""
    temperatures: dict[str, float] = Field({}, exclude_if=lambda value: not value)
    """Kind of task → temperature of its completions, where it is not that of the sampling."""


class EpisodeResult(StoredModel):
    """Outcome of one episode of a task; the transcript is in ``eval/bank`` under ``trajectory_id``."""

    task_id: str
    sample: int = Field(0, ge=0, exclude_if=lambda value: value == 0)
    """Number of the episode, where a task has several."""
    kind: str
    group: str
    success: bool
    reason: Reason
    cells: int = Field(ge=0)
    error_cells: int = Field(ge=0)
    recovered: bool
    """Solved although at least one cell ended in an error."""
    steps: int = Field(ge=0)
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    wall_s: float = Field(ge=0.0)
    trajectory_id: str
    legacy_success: bool | None = Field(None, exclude_if=lambda value: value is None)
    """Whether the reference system's rules call it solved; null: they did not judge (`workers.legacy_verdicts`)."""
    reward: FiniteFloat | None = Field(None, exclude_if=lambda value: value is None)
    """Reward of the episode; null: 1 for a success, 0 otherwise."""

    @classmethod
    def from_trajectory(
        cls, trajectory: Trajectory, *, legacy: bool = False, place: Mapping[str, str] = NO_PLACE, sample: int = 0
    ) -> EpisodeResult:
        """The result of a finished episode.

        Args:
            legacy: whether answers were also judged by the reference system's rules.
            place: id, kind and group of the task where they are not its own (:meth:`BenchmarkSpec.place`).
            sample: number of the episode, where a task has several.
        """
        usage, outcome = trajectory.usage, trajectory.outcome
        return cls.model_validate(
            {
                "task_id": trajectory.task.id,
                "sample": sample,
                "kind": trajectory.task.kind,
                "group": trajectory.task.group,
                "success": outcome.success,
                "reason": outcome.reason,
                "cells": usage.cells,
                "error_cells": usage.error_cells,
                "recovered": outcome.success and usage.error_cells > 0,
                "steps": usage.steps,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "wall_s": trajectory.wall_s,
                "trajectory_id": trajectory.id,
                "legacy_success": legacy_success(trajectory) if legacy else None,
                "reward": None if outcome.reward == float(outcome.success) else outcome.reward,
                **place,
            }
        )


def legacy_success(trajectory: Trajectory) -> bool | None:
    """Whether an episode is solved by the reference system's verdicts; None where an answer has none of them.

    A success without a right answer is the environment's, such as a game that is won, and counts for both.
    """
    verdicts = trajectory.grading.verdicts if trajectory.grading else ()
    if any(given.legacy is None for given in verdicts):
        return None
    if all(given.legacy == given.kind for given in verdicts):
        return trajectory.outcome.success
    by_environment = trajectory.outcome.success and not any(given.kind == "right" for given in verdicts)
    return by_environment or any(given.legacy == "right" for given in verdicts)


class UnscoredEpisode(StoredModel):
    """An episode without a verdict, because its server, kernel or grader failed. It is no failure of the model."""

    task_id: str
    sample: int = Field(0, ge=0, exclude_if=lambda value: value == 0)
    """Number of the episode, where a task has several."""
    reason: str
    """The message of the last attempt."""


class EvalResult(StoredModel):
    """One checkpoint on one benchmark under one protocol, sampling and seed: every episode of each task once."""

    schema_version: Literal[1] = Field(1, alias="schema")
    checkpoint: CheckpointRef
    benchmark: BenchmarkRef
    protocol: ProtocolRef
    sampling: Sampling
    seed: int
    engine: dict[str, Any]
    isolation: str
    started_at: str
    wall_s: float = Field(ge=0.0)
    episodes: tuple[EpisodeResult, ...]
    judge: str | None = Field(None, exclude_if=lambda value: value is None)
    """Name of the engine that may have judged the episodes."""
    unscored: tuple[UnscoredEpisode, ...] = Field((), exclude_if=lambda value: not value)
    """Tasks without a verdict. They are not among `episodes`, and no rate counts them; evaluating again runs them."""

    @model_validator(mode="after")
    def _every_task_once(self) -> EvalResult:
        each = self.benchmark.samples
        places = [(one.task_id, one.sample) for one in self.episodes]
        places += [(one.task_id, one.sample) for one in self.unscored]
        counts = Counter(task for task, _ in places)
        twice = next((place[0] for place, count in Counter(places).items() if count > 1), None)
        if twice is not None:
            kept = "one episode per task" if each == 1 else "one episode per task and sample"
            raise ValueError(f"episodes: task {twice!r} occurs {counts[twice]} times; keep {kept}")
        if counts.total() != self.expected:
            of = f" of {each} episodes each" if each > 1 else ""
            raise ValueError(
                f"episodes: {counts.total()} for a benchmark of {self.benchmark.tasks} tasks{of}; finish the evaluation"
            )
        if not self.episodes:
            raise ValueError("episodes: no task has a verdict, so there is no score; evaluate again")
        return self

    @property
    def expected(self) -> int:
        """Number of episodes, with and without a verdict."""
        return self.benchmark.tasks * self.benchmark.samples

    @property
    def legacy_solved(self) -> int | None:
        """Number of episodes that the reference system's rules call solved; None unless all were judged by them."""
        verdicts = [episode.legacy_success for episode in self.episodes]
        return None if None in verdicts else sum(map(bool, verdicts))

    @property
    def has_scores(self) -> bool:
        """Whether scores say more than success: they are the benchmark's figure, or a reward is neither 0 nor 1."""
        return self.benchmark.score is not None or any(one.reward is not None for one in self.episodes)

    @property
    def scored(self) -> bool:
        """Whether the mean score is the benchmark's figure, in place of the share of solved tasks."""
        return self.benchmark.score is not None and not self.benchmark.score.beside

    @property
    def scale(self) -> ScoreScale:
        """The scale of its scores: that of the benchmark, else 0 to 1."""
        return self.benchmark.score or ScoreScale()

    def score(self, episode: EpisodeResult) -> float:
        """The score of one of its episodes."""
        return self.scale.score(float(episode.success) if episode.reward is None else episode.reward)

    @property
    def decoding(self) -> str:
        """How completions were drawn: ``greedy``, ``temperature 0.2``, or ``temperature 0 (stem 0.1, writing 0.7)``."""
        temperature, own = self.sampling.temperature, self.benchmark.temperatures
        if not own:
            return "greedy" if temperature == 0 else f"temperature {temperature:g}"
        return f"temperature {temperature:g} ({', '.join(f'{kind} {value:g}' for kind, value in own.items())})"

    @property
    def without_verdict(self) -> str:
        """``2 of 60 without a verdict: 2 × server gone``; empty when every task has one."""
        if not self.unscored:
            return ""
        causes = Counter(" ".join(one.reason.split())[:SHOWN_CHARS] for one in self.unscored).most_common()
        named = "; ".join(f"{count} × {cause}" for cause, count in causes[:SHOWN_CAUSES])
        more = f"; and {len(causes) - SHOWN_CAUSES} other causes" if len(causes) > SHOWN_CAUSES else ""
        return f"{len(self.unscored)} of {self.expected} without a verdict: {named}{more}"

    @property
    def key(self) -> str:
        """Digest of everything that determines the result; equal keys mean the same computation."""
        return result_key(
            self.checkpoint.digest,
            self.benchmark.digest,
            self.protocol.digest,
            self.sampling,
            self.seed,
            self.judge,
            self.benchmark.samples,
        )


def result_key(
    checkpoint_digest: str,
    benchmark_digest: str,
    protocol_digest: str,
    sampling: Sampling,
    seed: int,
    judge: str | None = None,
    samples: int = 1,
) -> str:
    """The key of a result, known before it is computed."""
    identity: list[Any] = [checkpoint_digest, benchmark_digest, protocol_digest, sampling.model_dump(), seed]
    if judge:
        identity.append({"judge": judge})
    if samples > 1:
        identity.append({"samples": samples})
    return digest_of(identity)


def result_path(folder: Path, key: str) -> Path:
    """The file of a result in ``folder`` (``runs/<name>/eval/results``); it need not exist."""
    return folder / f"{key}.json"


def write_result(folder: Path, result: EvalResult) -> Path:
    """Writes ``result`` atomically and returns its path."""
    path = result_path(folder, result.key)
    write_atomically(path, result.model_dump_json(by_alias=True, indent=1) + "\n")
    return path


def read_result(path: Path) -> EvalResult:
    """Reads one result file. Raises ``ValueError`` when it is damaged or has the name of another key."""
    try:
        result = EvalResult.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        incomplete = first["type"] == "json_invalid"
        what = f"not a complete result file ({first['msg']})" if incomplete else f"{key}: {first['msg']}"
        raise ValueError(f"{path}: {what}; delete it and evaluate again") from error
    if path.stem != result.key:
        raise ValueError(f"{path}: holds the result of key {result.key}; delete it and evaluate again")
    return result


def read_results(folder: Path) -> list[EvalResult]:
    """Every result of ``folder`` by epoch, checkpoint name, benchmark, seed; empty when the folder does not exist."""
    results = [read_result(path) for path in sorted(folder.glob("*.json"))]
    return sorted(results, key=lambda r: (r.checkpoint.epoch, r.checkpoint.name, r.benchmark.name, r.seed, r.key))
