"""Reads a run folder for the report.

Contract: :func:`read_run` reads the files that exist; a stage that has not run yet is no error. A damaged file is a
``ValueError`` that names it. Cost: one pass over both banks, which are held in memory (about 10 KB per episode).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeact_train.system.failures import read_json_object
from eval.results import EvalResult, read_results
from rollout import Trajectory, read_trajectories


@dataclass(frozen=True)
class Run:
    """Contents of a run folder. Missing files are ``None``, missing lists are empty."""

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
        config=config.read_text(encoding="utf-8", errors="replace") if config.exists() else None,
        environment=_read_json(path / "environment.json"),
        selection=_read_json(path / "selection.json"),
        corpus=_read_json(path / "corpus" / "corpus.json"),
        ledger=_read_json(path / "corpus" / "ledger.json"),
        metrics=[_event(line, path / "train" / "metrics.jsonl") for line in _lines(path / "train" / "metrics.jsonl")],
        results=read_results(path / "eval" / "results"),
        bank=list(read_trajectories(path / "bank")),
        transcripts={one.id: one for one in read_trajectories(path / "eval" / "bank")},
    )


def _lines(path: Path) -> Iterator[str]:
    """Complete lines of a JSON Lines file; a last line without a newline is still being written and is skipped."""
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from (line for line in file if line.endswith("\n"))


def _read_json(path: Path) -> dict[str, Any] | None:
    return read_json_object(path, "run the stage that writes it again") if path.exists() else None


def _event(line: str, path: Path) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: a line is not JSON ({error}); `codeact train` drops damaged lines") from error
    if not isinstance(event, dict) or "kind" not in event:
        raise ValueError(f"{path}: a line is not an event ({line.strip()[:40]}); remove it")
    return event
