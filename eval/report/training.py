"""Curves and throughput of the training, from ``train/metrics.jsonl``.

Contract: throughput is tokens of all steps ÷ seconds of all steps, so slow steps count with their duration. It is given
for all computed positions (slots), for tokens that are not padding (real) and for tokens that carry loss (trained).
Curves are thinned to 600 points for the page; totals use all data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.report.charts import Chart, Series, line_chart, smoothed, thinned

CURVE_POINTS = 600
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Throughput:
    """Totals over all steps; ``*_per_s`` are totals ÷ ``seconds``."""

    seconds: float
    data_wait_s: float
    slots: int
    real: int
    trained: int

    @property
    def slots_per_s(self) -> float:
        """Positions per second, padding included."""
        return self.slots / self.seconds

    @property
    def real_per_s(self) -> float:
        """Tokens per second that are not padding."""
        return self.real / self.seconds

    @property
    def trained_per_s(self) -> float:
        """Tokens per second that carry loss."""
        return self.trained / self.seconds


@dataclass(frozen=True)
class Training:
    """Training of one run. ``jobs`` counts starts: one more than the number of resumes."""

    steps: int
    epochs: float
    jobs: int
    first_loss: float
    last_loss: float
    validation: list[dict[str, Any]]
    exports: list[dict[str, Any]]
    throughput: Throughput
    charts: list[Chart]


def summarise(metrics: list[dict[str, Any]]) -> Training | None:
    """Summary and charts of a run's metrics; ``None`` before the first step."""
    steps = [line for line in metrics if line["kind"] == "step"]
    if not steps:
        return None
    validation = [line for line in metrics if line["kind"] == "validation"]
    smooth = smoothed([step["loss"] for step in steps])
    return Training(
        steps=len(steps),
        epochs=steps[-1]["epoch"],
        jobs=sum(line["kind"] == "start" for line in metrics),
        first_loss=steps[0]["loss"],
        last_loss=smooth[-1],
        validation=validation,
        exports=[line for line in metrics if line["kind"] == "export"],
        throughput=Throughput(
            seconds=sum(step["step_s"] for step in steps),
            data_wait_s=sum(step["data_wait_s"] for step in steps),
            slots=sum(step["slots"] for step in steps),
            real=sum(step["real_tokens"] for step in steps),
            trained=sum(step["trained_tokens"] for step in steps),
        ),
        charts=[_loss_chart(steps, smooth, validation), _lr_chart(steps), _speed_chart(steps)],
    )


def _loss_chart(steps: list[dict[str, Any]], smooth: list[float], validation: list[dict[str, Any]]) -> Chart:
    keep = thinned(steps, CURVE_POINTS)
    x = [steps[i]["step"] for i in keep]
    series = [
        Series("each step", "c-faint", x, [steps[i]["loss"] for i in keep]),
        Series("smoothed", "c-1", x, [smooth[i] for i in keep]),
    ]
    if validation:
        losses = [line["loss"] for line in validation]
        series.append(Series("validation", "c-2", [line["step"] for line in validation], losses, markers=True))
    return line_chart("Loss per trained token, nats", series, x_label="optimizer step", y_format="{:.3g}".format)


def _lr_chart(steps: list[dict[str, Any]]) -> Chart:
    """The learning rate, in units of the power of ten of its peak to keep the ticks short."""
    keep = thinned(steps, CURVE_POINTS)
    top = max(step["lr"] for step in steps) or 1.0
    exponent = math.floor(math.log10(top))
    rates = [steps[i]["lr"] / 10**exponent for i in keep]
    series = Series("learning rate", "c-1", [steps[i]["step"] for i in keep], rates)
    title = f"Learning rate, 10{str(exponent).translate(_SUPERSCRIPT)}"
    return line_chart(
        title, [series], x_label="optimizer step", y_range=(0.0, top / 10**exponent * 1.05), y_format="{:.3g}".format
    )


def _speed_chart(steps: Sequence[dict[str, Any]]) -> Chart:
    keep = thinned(steps, CURVE_POINTS)
    names = {"slots": ("slots", "c-faint"), "real_tokens": ("real", "c-1"), "trained_tokens": ("trained", "c-2")}
    series = [
        Series(name, css, [steps[i]["step"] for i in keep], [steps[i][key] / steps[i]["step_s"] for i in keep])
        for key, (name, css) in names.items()
    ]
    top = max(max(one.y) for one in series) * 1.08
    return line_chart("Tokens per second, step by step", series, x_label="optimizer step", y_range=(0.0, top))
