"""The event log of a run, its curves, and its progress on the console.

Contract: ``metrics.jsonl`` has one JSON line an event, in the format of ``docs/reference/files.md``. Each line is on
disk before the next step begins. A resumed job first truncates the file to the step it resumes from. Cost: an fsync a
line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codeact_train.observability.loss_stats import LossStats
from codeact_train.observability.trackers import Tracker
from codeact_train.system import failures

CURVES = ("step", "validation")
"""Kinds of events whose numbers go to trackers."""


def fields(stats: LossStats) -> dict[str, Any]:
    """Event fields for the statistics of a batch."""
    roles = {role: asdict(own) for role, own in stats.roles.items()}
    return {"loss": stats.loss, "accuracy": stats.accuracy, "roles": roles}


class MetricsLog:
    """Writes the events of a run; only the main process has one."""

    def __init__(self, folder: Path, resume_step: int, trackers: Sequence[Tracker] = ()):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        _truncate(self._path, resume_step)
        self._file = self._path.open("a", encoding="utf-8")
        self._trackers = trackers

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one event and fsync it; the numbers of a step or validation also go to the trackers."""
        line = {"kind": kind, "step": step, **values}
        with failures.named(self._path):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        if kind in CURVES:
            numbers = dict(_numbers(kind, values))
            for tracker in self._trackers:
                tracker.add(step, numbers)

    def close(self) -> None:
        """Close the file and the trackers."""
        self._file.close()
        for tracker in self._trackers:
            tracker.close()


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """The numbers in an event, each named by its path: ``step/roles/assistant/loss``."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "time":
                yield from _numbers(f"{name}/{key}", inner)
    elif isinstance(value, int | float):
        yield name, value


def _truncate(path: Path, step: int) -> None:
    """Drop incomplete lines and those of steps after ``step``; a notice counts damaged lines before the last."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    steps = [_step(line) for line in lines]
    if damaged := sum(number is None for number in steps[:-1]):
        print(f"notice: {path}: {damaged} damaged line(s) are dropped", file=sys.stderr)
    kept = [line for line, number in zip(lines, steps, strict=True) if number is not None and number <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(b"".join(kept))
    temporary.rename(path)


def _step(line: bytes) -> int | None:
    """The step of an event; ``None`` for a line that is cut off or damaged."""
    try:
        return int(json.loads(line)["step"]) if line.endswith(b"\n") else None
    except (ValueError, KeyError, TypeError):
        return None


class ConsoleProgress:
    """Progress with rate and remaining time: a bar on a terminal, a line every few seconds elsewhere."""

    LINE_EVERY_S = 10.0

    def __init__(self, total: int, done: int, shown: bool):
        self._console = Console(stderr=True, quiet=not shown, highlight=False, markup=False, emoji=False)
        self._total, self._first, self._began = total, done, time.monotonic()
        self._last_line = 0.0
        self._bar: Progress | None = None
        if shown and self._console.is_terminal:
            columns = (TextColumn("train"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
            self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console)
            self._task = self._bar.add_task("train", total=total, completed=done, note="")
            self._bar.start()

    def show_step(self, step: int, loss: float, lr: float, measured: Mapping[str, Any]) -> None:
        """Show a finished step and its measurements (``Throughput.end_step``)."""
        slots, real, trained = (measured[f"{name}_per_s"] for name in ("slots", "real_tokens", "trained_tokens"))
        note = f"loss {loss:.4f}  lr {lr:.2e}  {slots:,.0f} slots/s, {real:,.0f} real, {trained:,.0f} trained"
        if "mfu" in measured:
            note += f"  MFU {measured['mfu']:.1%}"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, note=note)
            return
        now = time.monotonic()
        if now - self._last_line >= self.LINE_EVERY_S or step == self._total:
            left_s = (now - self._began) / (step - self._first) * (self._total - step)
            self._console.print(f"step {step}/{self._total}  {note}  {left_s / 60:.1f} min left", soft_wrap=True)
            self._last_line = now

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Stop the progress bar."""
        if self._bar is not None:
            self._bar.stop()
