"""Whether every layout computes the same training run.

Contract: :func:`compare` trains toy models of two families in every row of ``cases`` and reports how far loss and
gradient norm of each step and the validation loss after it are from those of one process that takes one document at a
time. In float32, sums formed in another order differ in the last digits, so equal means within ``TOLERANCE``, relative.
If DeepSpeed is not installed, its rows are skipped and named. Cost: minutes on two cores.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from codeact_train.parity import processes, toy_models
from codeact_train.parity.cases import ROWS, Point, Row, present
from codeact_train.parity.processes import LayoutRun

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Verdict:
    """Difference of a row from the reference: the largest relative difference over all steps."""

    family: str
    row: str
    processes: int
    steps: int
    loss: float
    grad_norm: float
    validation: float
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether all three are within the tolerance (a NaN is not)."""
        return all(value <= TOLERANCE for value in (self.loss, self.grad_norm, self.validation))


@dataclass(frozen=True)
class Report:
    """Verdicts of all rows. ``skipped``: rows that cannot run here."""

    steps: int
    verdicts: list[Verdict]
    skipped: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every row is within the tolerance."""
        return all(verdict.holds for verdict in self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        rows = [{**asdict(v), "holds": v.holds} for v in self.verdicts]
        return {
            "tolerance": TOLERANCE, "steps": self.steps, "holds": self.holds, "rows": rows, "left_out": self.skipped
        }  # fmt: skip


def compare(
    steps: int, scratch: Path, on_verdict: Callable[[Verdict], None] = lambda verdict: None, rows: list[Row] = ROWS
) -> Report:  # fmt: skip
    """Train every row for ``steps`` steps; calls ``on_verdict`` after each row. ``scratch`` is an empty folder."""
    torch.set_num_threads(1)  # the processes are forked from this one
    models, corpus = toy_models.make(scratch)
    runnable, verdicts = present(rows), []
    if any(row.deepspeed for row in runnable):
        importlib.import_module("codeact_train.backends.deepspeed.state")  # once, not in each process
    references: dict[str, list[Point]] = {}
    for size, group in groupby(runnable, key=lambda row: row.processes):
        for verdict in _of_size(size, list(group), models, corpus, steps, scratch / f"runs-{size}", references):
            verdicts.append(verdict)
            on_verdict(verdict)
    return Report(steps, verdicts, [row.name for row in rows if row not in runnable])


def _of_size(
    size: int, rows: list[Row], models: dict[str, Path], corpus: Path, steps: int, out: Path,
    references: dict[str, list[Point]],
) -> Iterator[Verdict]:  # fmt: skip
    """Verdicts of rows with the same number of processes, for every family; the first row of all is the reference."""
    pairs = [(row, family) for row in rows for family in models]
    runs = [
        LayoutRun(
            row.job(models[family], corpus, out / str(number), toy_models.FAMILIES[family].settings),
            steps=max(row.steps, steps), trainer=row.trainer,
        )
        for number, (row, family) in enumerate(pairs)
    ]  # fmt: skip
    began = time.monotonic()
    for (row, family), curve in zip(pairs, processes.run(runs, size, out), strict=True):
        reference = references.setdefault(family, curve)
        loss, norm, validation = _distances(curve, reference)
        yield Verdict(family, row.name, size, len(curve), loss, norm, validation, round(time.monotonic() - began, 2))
        began = time.monotonic()


def _distances(curve: list[Point], reference: list[Point]) -> list[float]:
    """Largest relative difference of each of the three numbers."""
    columns = zip(zip(*curve, strict=True), zip(*reference[: len(curve)], strict=True), strict=True)
    return [_largest(zip(own, wanted, strict=True)) for own, wanted in columns]


def _largest(pairs: Iterable[tuple[float, float]]) -> float:
    """Largest relative difference; NaN if one is NaN."""
    found, wanted = torch.tensor(list(pairs), dtype=torch.float64).T
    return ((found - wanted).abs() / wanted.abs()).max().item()
