"""Published training runs compared with the predictions of the cost model.

Contract: :func:`compare` estimates each run with the model a plan uses. The constants of ``step_time``, ``traffic`` and
the clusters were fitted to ``published_runs.calibration``, so these rows show the quality of the fit. The ``held_out``
runs were not used and show how well the model generalises. :func:`missed` names the fitted runs with an error above
``TOLERANCE``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codeact_train.plan.hardware import Cluster
from codeact_train.plan.published_runs import PublishedRun, calibration, held_out
from codeact_train.plan.step_time import step_time
from codeact_train.plan.workload import mean_context

TOLERANCE = 0.20
"""Largest relative error of a fitted run."""


@dataclass(frozen=True)
class Comparison:
    """A run and its predicted rate, in tokens per second and GPU."""

    run: PublishedRun
    predicted: float
    fitted: bool
    """Whether the constants were fitted to this run."""

    @property
    def ratio(self) -> float:
        """Predicted over published."""
        return self.predicted / self.run.published

    @property
    def within(self) -> bool:
        """Whether the error is within the tolerance."""
        return abs(self.ratio - 1) <= TOLERANCE


def compare() -> list[Comparison]:
    """The prediction for every published run, the fitted ones first."""
    return [Comparison(run, _rate(run), True) for run in calibration()] + [
        Comparison(run, _rate(run), False) for run in held_out()
    ]


def missed(compared: list[Comparison]) -> list[str]:
    """Names of the fitted runs outside the tolerance."""
    return [one.run.name for one in compared if one.fitted and not one.within]


def _rate(run: PublishedRun) -> float:
    # the shipped cluster, with as many GPUs per node as the run's layout has
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
