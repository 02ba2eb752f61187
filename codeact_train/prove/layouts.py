"""Whether every layout computes the same training run.

Contract: :func:`prove` trains toy models of two families in every row of ``rows`` and reports how far loss, gradient
norm and validation loss of each step are from those of one process that takes one document at a time. In float32 sums
formed in another order differ in the last places, so equal means within ``TOLERANCE``, relative. Cost: minutes on two
cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from codeact_train.prove import processes, toys
from codeact_train.prove.processes import Run
from codeact_train.prove.rows import ROWS, Point, Row

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Verdict:
    """How far a row is from the reference: the largest relative difference over all steps."""

    family: str
    row: str
    processes: int
    loss: float
    grad_norm: float
    validation: float
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether all three are within the tolerance (a NaN is not)."""
        return all(value <= TOLERANCE for value in (self.loss, self.grad_norm, self.validation))


@dataclass(frozen=True)
class Proof:
    """All rows of one run."""

    steps: int
    verdicts: list[Verdict]

    @property
    def holds(self) -> bool:
        """Whether every row does."""
        return all(verdict.holds for verdict in self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        rows = [{**asdict(v), "holds": v.holds} for v in self.verdicts]
        return {"tolerance": TOLERANCE, "steps": self.steps, "holds": self.holds, "rows": rows}


def prove(
    steps: int, scratch: Path, tell: Callable[[Verdict], None] = lambda verdict: None, rows: list[Row] = ROWS
) -> Proof:  # fmt: skip
    """Train every row for ``steps`` steps; ``tell`` hears each verdict as it falls. ``scratch`` is an empty folder."""
    torch.set_num_threads(1)  # the processes are forked from this one
    models, corpus = toys.make(scratch)
    verdicts = []
    for family, model in models.items():
        for verdict in _family(family, model, corpus, steps, scratch, rows):
            verdicts.append(verdict)
            tell(verdict)
    return Proof(steps, verdicts)


def _family(
    family: str, model: Path, corpus: Path, steps: int, scratch: Path, rows: list[Row]
) -> Iterator[Verdict]:  # fmt: skip
    reference: list[Point] = []
    for size, same_size in groupby(rows, key=lambda row: row.processes):
        group = list(same_size)
        out = scratch / "runs" / family / str(size)
        runs = [
            Run(
                row.job(model, corpus, out / str(number), toys.FAMILIES[family].settings), row.steps or steps, row.rival
            )
            for number, row in enumerate(group)
        ]
        began = time.monotonic()
        for row, curve in zip(group, processes.run(runs, size, out), strict=True):
            reference = reference or curve
            loss, norm, validation = _distances(curve, reference)
            yield Verdict(family, row.name, size, loss, norm, validation, round(time.monotonic() - began, 2))
            began = time.monotonic()


def _distances(curve: list[Point], reference: list[Point]) -> tuple[float, ...]:
    """Largest relative difference of each of the three numbers."""
    found, wanted = (torch.tensor(points, dtype=torch.float64) for points in (curve, reference[: len(curve)]))
    return tuple(((found - wanted).abs() / wanted.abs()).amax(0).tolist())
