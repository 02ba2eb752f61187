"""Trackers of curves besides ``metrics.jsonl``: TensorBoard, Weights & Biases, MLflow.

Contract: a tracker receives named numbers by step and nothing else. Each is imported only if it is configured; one that
is configured and not installed is refused before training. A resumed job continues the same curves: TensorBoard drops
the points after the step it resumes from, the others find the run by an id derived from its folder. A tracker that
cannot start, without a login or a server, or that fails later, is reported once and receives nothing more; training
goes on.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from codeact_train.config.train import TrainConfig
from codeact_train.system import failures


class Tracker(Protocol):
    """One destination of curves."""

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """Add a point to each named curve."""

    def close(self) -> None:
        """Send pending points."""


def build_trackers(train: TrainConfig, folder: Path, resume_step: int) -> list[Tracker]:
    """The configured trackers of a run. Raises ``ValueError`` naming one that is not installed."""
    trackers: list[Tracker] = []
    wandb, mlflow = train.wandb, train.mlflow
    if train.tensorboard:
        _check_installed("tensorboard", train.tensorboard)
        trackers.append(FaultTolerantTracker("TensorBoard", lambda: TensorBoard(folder / "tensorboard", resume_step)))
    if wandb:
        _check_installed("wandb", wandb)
        settings = train.model_dump(mode="json")
        trackers.append(FaultTolerantTracker("Weights & Biases", lambda: WeightsAndBiases(wandb, folder, settings)))
    if mlflow:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # by default it tries for minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        _check_installed("mlflow", mlflow)
        trackers.append(FaultTolerantTracker("MLflow", lambda: MLflow(mlflow, folder)))
    return trackers


def _check_installed(package: str, value: object) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"train.{package}={value}: {failures.sentence(error) or error}") from error


class FaultTolerantTracker:
    """Wraps a tracker so that its failure, at the start or later, does not end the job."""

    def __init__(self, name: str, start: Callable[[], Tracker]):
        self._name = name
        self._tracker: Tracker | None = None
        try:
            self._tracker = start()
        except Exception as error:  # each library raises other types
            self._report("did not start", error)

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """See :class:`Tracker`."""
        self._try(lambda tracker: tracker.add(step, numbers))

    def close(self) -> None:
        """See :class:`Tracker`."""
        self._try(Tracker.close)

    def _try(self, call: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:  # each library raises other types
            self._tracker = None
            self._report("failed and is switched off", error)

    def _report(self, what: str, error: Exception) -> None:
        first = next(iter(str(error).splitlines()), "")
        problem = f"{type(error).__name__}: {first}" if first else type(error).__name__
        print(f"warning: {self._name} {what}; training and metrics.jsonl go on: {problem}", file=sys.stderr, flush=True)


class TensorBoard:
    """Event files in the run's folder."""

    def __init__(self, folder: Path, resume_step: int):
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(folder), purge_step=resume_step + 1)

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """See :class:`Tracker`."""
        for name, number in numbers.items():
            self._board.add_scalar(name, number, step)

    def close(self) -> None:
        """See :class:`Tracker`."""
        self._board.close()


class WeightsAndBiases:
    """A run in a project; ``WANDB_MODE=offline`` keeps it on disk. On a terminal wandb may ask for a login, for up to
    ``LOGIN_S`` seconds; otherwise it does not start without one."""

    LOGIN_S = 60.0

    def __init__(self, project: str, folder: Path, config: dict[str, Any]):
        import wandb

        self._run = wandb.init(
            project=project,
            name=_name(folder),
            id=_id(folder),
            resume="allow",
            dir=str(folder),
            config=config,
            settings=wandb.Settings(login_timeout=self.LOGIN_S),
        )

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """See :class:`Tracker`."""
        self._run.log(numbers, step=step)

    def close(self) -> None:
        """See :class:`Tracker`."""
        self._run.finish()


class MLflow:
    """A run in an experiment, at ``MLFLOW_TRACKING_URI``. A server that does not answer is given up after seconds."""

    def __init__(self, experiment: str, folder: Path):
        import mlflow

        self._client = mlflow.MlflowClient()
        found = self._client.get_experiment_by_name(experiment)
        where = found.experiment_id if found else self._client.create_experiment(experiment)
        known = self._client.search_runs([where], f"tags.codeact_run = '{_id(folder)}'")
        tags, name = {"codeact_run": _id(folder)}, _name(folder)
        self._run = known[0] if known else self._client.create_run(where, tags=tags, run_name=name)

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """See :class:`Tracker`."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        points = [Metric(name, number, now_ms, step) for name, number in numbers.items()]
        self._client.log_batch(self._run.info.run_id, metrics=points)

    def close(self) -> None:
        """See :class:`Tracker`."""
        self._client.set_terminated(self._run.info.run_id)


def _id(folder: Path) -> str:
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def _name(folder: Path) -> str:
    """Name of the run: ``demo`` for ``runs/demo/train``."""
    return folder.resolve().parent.name
