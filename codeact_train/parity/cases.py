"""The ways of computing the same training run that are compared.

Contract: a row is a name, a number of processes and settings; all rows share the same recipe. The first row is the
reference: one process, one document at a time. A row may name an independent trainer in ``REFERENCE_TRAINERS``. Rows
with the same number of processes are adjacent, and among these rows with the same layout.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from codeact_train.config.train import TrainConfig, TrainJob
from codeact_train.parity import reference_loop

Point: TypeAlias = tuple[float, float, float]
"""Loss and gradient norm of a step, and the validation loss after it."""

RECIPE: dict[str, Any] = {
    "epochs": 100,
    "global_batch_packs": 4,
    "optimizer": {"lr": 1e-3, "min_lr": 1e-4, "warmup_steps": 2, "weight_decay": 0.1, "clip_grad": 1.0},
    "startup_checks": [],
    "tensorboard": False,
}
REFERENCE_STEPS = 20
"""Fewest steps of the reference row, of an independent trainer and of DeepSpeed in one process; the other rows take as
many as requested."""


@dataclass(frozen=True)
class Row:
    """One way to compute the run. ``trainer``: an independent trainer instead of ours. ``steps``: fewest steps to
    take."""

    name: str
    processes: int = 1
    settings: dict[str, Any] = field(default_factory=dict)
    trainer: str | None = None
    steps: int = 0

    @property
    def deepspeed(self) -> bool:
        """Whether it needs DeepSpeed."""
        return self.settings.get("backend") == "deepspeed"

    def job(self, model: Path, corpus: Path, out: Path, family_settings: dict[str, Any]) -> TrainJob:
        """The training job of this row, with the settings of its model family."""
        train = TrainConfig.model_validate({**RECIPE, **family_settings, **self.settings})
        return TrainJob(model=str(model), corpus=str(corpus), out=str(out), train=train)


def _zero(processes: int, name: str, steps: int = 0, micro_batch: int | None = None, **zero: Any) -> Row:
    settings = {"backend": "deepspeed", "zero": zero, "micro_batch_tokens": micro_batch}
    return Row(f"DeepSpeed {name}", processes, settings, steps=steps)


def _layout(processes: int, name: str, settings: dict[str, Any] | None = None, **parallel: Any) -> Row:
    return Row(name, processes, {"parallel": parallel, **(settings or {})})


SP: dict[str, Any] = {"sequence_parallel": True}
ZERO: dict[str, Any] = {"distributed_optimizer": True}
OVERLAP: dict[str, Any] = {"distributed_optimizer": True, "overlap": True}
FULL: dict[str, Any] = {"recompute": "full"}
SELECTIVE: dict[str, Any] = {"recompute": "selective"}

REFERENCE_TRAINERS: dict[str, Callable[[TrainJob, int], list[Point]]] = {"plain loop": reference_loop.run}
"""Independent trainers."""

ROWS = [
    Row("one document at a time", 1, {"micro_batch_tokens": 1}, steps=REFERENCE_STEPS),
    Row("transformers and torch AdamW", 1, trainer="plain loop", steps=REFERENCE_STEPS),
    Row("packed"),
    Row("two packs a micro-batch", 1, {"micro_batch_packs": 2}),
    Row("micro-batches of 300 tokens", 1, {"micro_batch_tokens": 300}),
    Row("recompute selective", 1, SELECTIVE),
    Row("recompute full", 1, FULL),
    Row("attention by its formula", 1, {"attention": "reference"}),
    _zero(1, "ZeRO-1", REFERENCE_STEPS, stage=1),
    _layout(2, "TP2", tensor=2),
    _layout(2, "TP2 SP", tensor=2, **SP),
    _layout(2, "TP2 SP, recompute selective", SELECTIVE, tensor=2, **SP),
    _layout(2, "PP2", pipeline=2),
    _layout(2, "CP2", context=2),
    _layout(2, "DP2"),
    _layout(2, "DP2 ZeRO-1 overlap", **OVERLAP),
    _zero(2, "DP2 ZeRO-1", stage=1),
    _zero(2, "DP2 ZeRO-2, optimizer offloaded", stage=2, offload="optimizer"),
    _zero(2, "DP2 ZeRO-3", stage=3),
    _layout(4, "TP4", tensor=4),
    _layout(4, "TP4 SP", tensor=4, **SP),
    _layout(4, "PP4", pipeline=4),
    _layout(4, "CP4", context=4),
    _layout(4, "DP4 ZeRO-1", **ZERO),
    _layout(4, "DP4, micro-batches of 300 tokens", {"micro_batch_tokens": 300}),
    _layout(4, "TP2 SP DP2 ZeRO-1 overlap", tensor=2, **SP, **OVERLAP),
    _layout(4, "TP2 SP PP2, recompute full", FULL, tensor=2, pipeline=2, **SP),
    _layout(4, "TP2 SP CP2, recompute selective", SELECTIVE, tensor=2, context=2, **SP),
    _layout(4, "PP2 CP2, micro-batches of 300 tokens", {"micro_batch_tokens": 300}, pipeline=2, context=2),
    _layout(4, "PP2 DP2 ZeRO-1 overlap", pipeline=2, **OVERLAP),
    _layout(4, "CP2 DP2 ZeRO-1 overlap, recompute full", FULL, context=2, **OVERLAP),
    _zero(4, "DP4 ZeRO-2, 300 tokens", micro_batch=300, stage=2),
    _zero(4, "DP4 ZeRO-3, all offloaded", stage=3, offload="all"),
]


def present(rows: list[Row]) -> list[Row]:
    """The rows that can run here: those of DeepSpeed need it installed."""
    installed = importlib.util.find_spec("deepspeed") is not None
    return [row for row in rows if installed or not row.deepspeed]
