"""Results made from counts: what a checkpoint solved of each kind of task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eval.results import BenchmarkRef, CheckpointRef, EpisodeResult, EvalResult, write_result
from eval.scale import ScoreScale
from rollout.bank.trajectory import ProtocolRef, Sampling, digest_of

NO_REWARDS: Mapping[str, float] = {}


def measured(
    benchmark: str,
    counts: Mapping[str, tuple[int, int]],
    protocol: str = "codeact",
    checkpoint: str = "epoch-1",
    steps: int = 3,
    rewards: Mapping[str, float] = NO_REWARDS,
    score: ScoreScale | None = None,
) -> EvalResult:
    """A result.

    Args:
        counts: kind → solved tasks and tasks.
        steps: turns of each episode.
        rewards: task → its reward, for those that are not just solved or not.
        score: the scale of the benchmark's score, where that is its figure.
    """
    episodes = tuple(
        EpisodeResult(
            task_id=f"{kind}/{number}",
            kind=kind,
            group="trained",
            success=number < solved,
            reason="solved" if number < solved else "max_steps",
            cells=1,
            error_cells=0,
            recovered=False,
            steps=steps,
            prompt_tokens=100,
            completion_tokens=20,
            wall_s=1.0,
            trajectory_id=f"{kind}-{number}",
            reward=rewards.get(f"{kind}/{number}"),
        )
        for kind, (solved, tasks) in counts.items()
        for number in range(tasks)
    )
    return EvalResult(
        checkpoint=CheckpointRef(
            name=checkpoint, digest=f"digest-{checkpoint}", epoch=int(checkpoint != "base"), path="exports/epoch-1"
        ),
        benchmark=BenchmarkRef(name=benchmark, digest=digest_of(benchmark), tasks=len(episodes), score=score),
        protocol=ProtocolRef(name=protocol, digest=digest_of(protocol)),
        sampling=Sampling(max_tokens=512),
        seed=0,
        engine={"name": "scripted"},
        isolation="process",
        started_at="2026-08-01T00:00:00+00:00",
        wall_s=12.0,
        episodes=episodes,
    )


def run_with(path: Path, *results: EvalResult) -> Path:
    """A run folder with these results."""
    for one in results:
        write_result(path / "eval" / "results", one)
    return path
