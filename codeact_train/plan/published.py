"""Training runs others have published, beside what the cost model says of them.

Contract: :func:`compare` reckons each run with the model a plan uses. The constants of ``step_time``, ``traffic`` and
the clusters were fitted to ``published_runs.calibration``, so for those this shows a fit; ``held_out`` runs took no
part in it and show what the model is worth elsewhere. :func:`outside` names the fitted runs missed by more than
``TOLERANCE``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codeact_train.plan.hardware import Cluster
from codeact_train.plan.published_runs import Run, calibration, held_out
from codeact_train.plan.step_time import step_time
from codeact_train.plan.workload import mean_context

TOLERANCE = 0.20
"""Largest relative miss of a run the constants were fitted to."""


@dataclass(frozen=True)
class Compared:
    """A run and the model's figure for it, in tokens a second and GPU."""

    run: Run
    predicted: float
    fitted: bool
    """Whether the constants were fitted to this run."""

    @property
    def ratio(self) -> float:
        """Predicted over published."""
        return self.predicted / self.run.published

    @property
    def within(self) -> bool:
        """Whether the model comes near enough."""
        return abs(self.ratio - 1) <= TOLERANCE


def compare() -> list[Compared]:
    """Every published run, reckoned: the fitted ones first."""
    return [Compared(run, _rate(run), True) for run in calibration()] + [
        Compared(run, _rate(run), False) for run in held_out()
    ]


def outside(compared: list[Compared]) -> list[str]:
    """Names of the fitted runs that the model misses."""
    return [one.run.name for one in compared if one.fitted and not one.within]


def _rate(run: Run) -> float:
    # the shipped description, with as many GPUs in its node as the run's layout has
    cluster = Cluster.load(run.cluster).model_copy(update={"gpus_per_node": run.layout.gpus})
    micro, context = run.micro * 1024, mean_context(np.array([run.sequence * 1024]), run.model.window)
    time = step_time(
        run.model,
        run.layout,
        run.kernels,
        cluster,
        tokens=micro,
        context=context,
        trained=micro,
        micro_batches=run.micro_batches,
    )
    return micro * run.micro_batches * run.layout.data / time.total / run.layout.gpus
