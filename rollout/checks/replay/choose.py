"""Which of the recorded runs are replayed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from random import Random

from rollout.checks.replay.recorded import RecordedRun, read_runs


def choose_runs(
    paths: Iterable[Path], limit: int | None = None, seed: int = 0, families: Collection[str] = ()
) -> list[RecordedRun]:
    """The runs of some files, in their order.

    Args:
        paths: files of recorded runs.
        limit: this many, drawn with the seed; None: all.
        seed: of the draw.
        families: only these; empty: all.

    Raises:
        ValueError: a file cannot be read, a run is in it twice, or none is left.
    """
    runs: dict[str, RecordedRun] = {}
    for path in paths:
        for run in read_runs(path):
            if run.id in runs:
                raise ValueError(f"tasks replay: the run {run.id} is in the files twice; give each file once")
            runs[run.id] = run
    known = {run.family for run in runs.values()}
    if unknown := set(families) - known:
        raise ValueError(
            f"tasks replay: no run is of {', '.join(sorted(unknown))}; families: {', '.join(sorted(known))}"
        )
    chosen = [run for run in runs.values() if not families or run.family in families]
    if not chosen:
        raise ValueError("tasks replay: the files hold no runs")
    if limit is None or limit >= len(chosen):
        return chosen
    return [chosen[index] for index in sorted(Random(f"replay/{seed}").sample(range(len(chosen)), limit))]
