"""Detects a step that went wrong: a loss or gradient norm that is not finite, or that spikes.

Contract: every process checks the same numbers and reaches the same verdict. A spike is a loss or gradient norm far
above the median of the steps before it; training continues after one. A step that is not finite is never taken: it is
skipped, up to ``guard.skip_limit`` times, then it ends the job with :class:`Diverged`. The detector's history is part
of a checkpoint, so a resumed run detects what an unbroken one would. Cost: a median of 32 numbers.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass
from typing import Any

from codeact_train.config.train import GuardSettings

WINDOW = 32
"""Steps the median is taken over."""
MIN_STEPS = 8
"""Steps needed for a median."""


class Diverged(RuntimeError):
    """A step was not finite, and the limit of skipped steps is reached."""


@dataclass(frozen=True)
class Anomaly:
    """A step that went wrong. ``reason``: ``not finite`` or ``spike``."""

    reason: str
    loss: float
    grad_norm: float
    median_loss: float | None
    median_norm: float | None

    @property
    def fatal(self) -> bool:
        """Whether the step must not be taken."""
        return self.reason == "not finite"

    def __str__(self) -> str:
        usual = f" (medians: {self.median_loss:.4g} and {self.median_norm:.4g})" if self.median_loss else ""
        return f"{self.reason}: loss {self.loss:.4g}, gradient norm {self.grad_norm:.4g}{usual}"


class AnomalyDetector:
    """Checks each step of a run. ``saved``: the :meth:`state_dict` of the checkpoint it resumes from."""

    def __init__(self, settings: GuardSettings, saved: dict[str, Any] | None = None):
        self.settings = settings
        saved = saved or {}
        self._recent = deque[tuple[float, float]](map(tuple, saved.get("recent", ())), maxlen=WINDOW)
        self.not_finite: list[int] = list(saved.get("left_out", ()))
        """Steps skipped because they were not finite."""
        self.spikes: int = saved.get("spikes", 0)
        """Spikes found."""
        self.skipped: int = saved.get("passed", 0)
        """Number of steps skipped, for any reason."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint stores, as JSON. The keys are those of checkpoints since schema 3."""
        return {
            "recent": list(self._recent), "left_out": self.not_finite, "spikes": self.spikes, "passed": self.skipped
        }  # fmt: skip

    def check(self, loss: float, norm: float) -> Anomaly | None:
        """The anomaly of a step, or ``None``."""
        medians = self._medians()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            reason = "not finite"
        else:
            self._recent.append((loss, norm))
            if not any(self._is_spike(value, median) for value, median in zip((loss, norm), medians, strict=True)):
                return None
            reason = "spike"
            self.spikes += 1
        return Anomaly(reason, loss, norm, *medians)

    def _medians(self) -> tuple[float | None, ...]:
        """Medians of loss and norm, once there are enough steps."""
        if len(self._recent) < MIN_STEPS:
            return None, None
        return tuple(statistics.median(column) for column in zip(*self._recent, strict=True))

    def _is_spike(self, value: float, median: float | None) -> bool:
        return bool(self.settings.spike and median and value > self.settings.spike * median)

    def count_not_finite(self, step: int) -> None:
        """Count a step that was not finite. Raises :class:`Diverged` beyond the limit."""
        if len(self.not_finite) >= self.settings.skip_limit:
            raise Diverged(
                f"step {step} is not finite and guard.skip_limit={self.settings.skip_limit} is reached; the step is "
                f"not saved. To go on without its batch, add {step} to guard.skip_steps and start the job again"
            )
        self.not_finite.append(step)
