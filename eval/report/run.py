"""A run folder as the report sees it: every documented file, or ``None`` and a sentence why it is not there.

Contract: :func:`read_run` reads what exists, in the forms of ``docs/reference/files.md``, and never fails because a
stage has not run yet; a file that exists and is damaged raises ``ValueError`` naming it. Cost: one pass over both
banks, which are held in memory (some 10 KB an episode).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.results import EvalResult, read_results
from rollout import Trajectory, read_trajectories


@dataclass(frozen=True)
class Run:
    """What a run folder holds; absent files are ``None``, absent lists empty."""

    path: Path
    name: str
    config: str | None
    environment: dict[str, Any] | None
    selection: dict[str, Any] | None
    corpus: dict[str, Any] | None
    ledger: dict[str, Any] | None
    metrics: list[dict[str, Any]]
    results: list[EvalResult]
    bank: list[Trajectory]
    transcripts: dict[str, Trajectory]

    def steps(self) -> list[dict[str, Any]]:
        """The optimizer steps' metrics, in order."""
        return [line for line in self.metrics if line["kind"] == "step"]


def read_run(path: Path) -> Run:
    """Reads ``runs/<name>``. Raises ``ValueError`` when the folder is missing or one of its files is damaged."""
    if not path.is_dir():
        raise ValueError(f"run: {path} is not a folder; give the path of a run, such as runs/demo")
    config = path / "config.yaml"
    return Run(
        path=path,
        name=path.resolve().name,
        config=config.read_text(encoding="utf-8") if config.exists() else None,
        environment=_read_json(path / "environment.json"),
        selection=_read_json(path / "selection.json"),
        corpus=_read_json(path / "corpus" / "corpus.json"),
        ledger=_read_json(path / "corpus" / "ledger.json"),
        metrics=[_parse(line, path / "train" / "metrics.jsonl") for line in _lines(path / "train" / "metrics.jsonl")],
        results=read_results(path / "eval" / "results"),
        bank=list(read_trajectories(path / "bank")),
        transcripts={one.id: one for one in read_trajectories(path / "eval" / "bank")},
    )


def _lines(path: Path) -> Iterator[str]:
    """Whole lines of a JSON Lines file; a last line without its newline is still being written and is left out."""
    if path.exists():
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.endswith("\n"))


def _read_json(path: Path) -> dict[str, Any] | None:
    return _parse(path.read_text(encoding="utf-8"), path) if path.exists() else None


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error}); run the stage that writes it again") from error
