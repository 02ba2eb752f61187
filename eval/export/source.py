"""What an export reads: the results of a run, and the transcripts of their episodes.

Contract: transcripts are read one at a time, in the order of the bank, never held together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eval.results import EpisodeResult, EvalResult, read_results
from rollout import Trajectory, read_trajectories


@dataclass(frozen=True)
class MeasuredRun:
    """The results of a run folder, and where the transcripts of each are.

    Attributes:
        name: name of the run folder.
        results: each result with the bank of its episodes.
    """

    name: str
    results: tuple[tuple[EvalResult, Path], ...]

    def transcripts(self, result: EvalResult, bank: Path) -> Iterator[tuple[EpisodeResult, Trajectory]]:
        """Each episode of a result with its transcript, in the order of the bank; others are left out."""
        wanted: Mapping[str, EpisodeResult] = {one.trajectory_id: one for one in result.episodes}
        for record in read_trajectories(bank):
            if record.id in wanted and not record.lost:
                yield wanted[record.id], record


def read_measured(run: Path, checkpoint: str | None = None) -> MeasuredRun:
    """The results of a run folder.

    Args:
        checkpoint: only those of this checkpoint or engine.

    Raises:
        ValueError: there are none, or a file is damaged.
    """
    found = [
        (result, folder / "bank")
        for folder in (run / "eval", run / "eval" / "engines")
        for result in read_results(folder / "results")
    ]
    if not found:
        raise ValueError(f"{run}: there are no results in eval/results; run `codeact evaluate` with this run first")
    names = list(dict.fromkeys(result.checkpoint.name for result, _ in found))
    if checkpoint is not None and checkpoint not in names:
        raise ValueError(
            f"--checkpoint {checkpoint}: there is no result of it in {run}; choose from {', '.join(names)}"
        )
    chosen = [one for one in found if checkpoint in (None, one[0].checkpoint.name)]
    return MeasuredRun(run.resolve().name, tuple(chosen))
