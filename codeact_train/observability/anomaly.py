"""Notices a step that went wrong: a loss or gradient that is not a number, or leaps.

Contract: every process judges the same numbers and comes to the same verdict. A spike is a loss or gradient norm far
above the median of the steps before it; training goes on after one. A step that is not finite is never taken: it is
left out, as long as the run may leave out more, or ends the job with :class:`Diverged`. What is remembered is part of a
checkpoint, so a resumed run judges as one that never stopped. Cost: a median of 32 numbers.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass
from typing import Any

from codeact_train.config.train import GuardSettings

REMEMBERED = 32
"""Steps the median is taken over."""
ENOUGH = 8
"""Steps from which on there is one."""


class Diverged(RuntimeError):
    """A step was not finite, and no more may be left out."""


@dataclass(frozen=True)
class Alarm:
    """What was wrong with a step. ``reason``: ``not finite`` or ``spike``."""

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
        usual = f" (usual are {self.median_loss:.4g} and {self.median_norm:.4g})" if self.median_loss else ""
        return f"{self.reason}: loss {self.loss:.4g}, gradient norm {self.grad_norm:.4g}{usual}"


class Guard:
    """``remembered``: what :attr:`memory` was when the run was saved."""

    def __init__(self, settings: GuardSettings, remembered: dict[str, Any] | None = None):
        self.settings = settings
        remembered = remembered or {}
        self._recent = deque[tuple[float, float]](map(tuple, remembered.get("recent", ())), maxlen=REMEMBERED)
        self.left_out: list[int] = list(remembered.get("left_out", ()))
        self.spikes: int = remembered.get("spikes", 0)
        self.passed: int = remembered.get("passed", 0)  # steps not taken, for whatever reason

    @property
    def memory(self) -> dict[str, Any]:
        """What a checkpoint holds of it, as JSON."""
        return {"recent": list(self._recent), "left_out": self.left_out, "spikes": self.spikes, "passed": self.passed}

    def judge(self, loss: float, norm: float) -> Alarm | None:
        """What is wrong with a step, if anything is."""
        usual = self._usual()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            reason = "not finite"
        else:
            self._recent.append((loss, norm))
            if not any(self._leaps(value, own) for value, own in zip((loss, norm), usual, strict=True)):
                return None
            reason = "spike"
            self.spikes += 1
        return Alarm(reason, loss, norm, *usual)

    def _usual(self) -> tuple[float | None, ...]:
        """Medians of loss and norm, once there are enough to speak of."""
        if len(self._recent) < ENOUGH:
            return None, None
        return tuple(statistics.median(column) for column in zip(*self._recent, strict=True))

    def _leaps(self, value: float, usual: float | None) -> bool:
        return bool(self.settings.spike and usual and value > self.settings.spike * usual)

    def leave_out(self, step: int) -> None:
        """Count a step that was not finite. Raises :class:`Diverged` when it is one too many."""
        if len(self.left_out) >= self.settings.skip_limit:
            raise Diverged(
                f"step {step} is not finite and guard.skip_limit={self.settings.skip_limit} leaves none out; nothing "
                f"of it is saved. To go on without its batch, put {step} into guard.skip_steps and start the job again"
            )
        self.left_out.append(step)
