"""Notices that no attempt succeeds any more, so that a run does not retry for hours.

Contract: :meth:`Outage.see` is called with each finished attempt and raises :class:`OutageError` when the engine has
refused :data:`REFUSALS` attempts in a row, or when every attempt for :data:`PATIENCE_S` was lost to the
infrastructure. Each engine is counted alone. An attempt that ends in any other way starts its count again. Finished
episodes stay in the bank.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rollout.bank.trajectory import Trajectory

REFUSALS = 8
"""Refusals in a row that stop a run: a wrong key or model name does not mend itself."""
PATIENCE_S = 600.0
"""How long every attempt may be lost, so that a server can restart."""


class OutageError(ValueError):
    """No episode can be run; the message has the cause and says how to go on."""


@dataclass
class _Row:
    """Attempts of an engine that were lost one after another."""

    lost: int = 0
    refused: int = 0
    since: float = 0.0


class Outage:
    """The attempts of a run that were lost in a row.

    Args:
        at_once: episodes that run at the same time; fewer attempts never count as an outage.
        clock: seconds, for tests.
    """

    def __init__(self, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once, self._clock = at_once, clock
        self._rows: dict[str, _Row] = {}

    def see(self, attempt: Trajectory) -> None:
        """Counts a finished attempt.

        Raises:
            OutageError: the run should stop.
        """
        error = attempt.outcome.error
        if error is None or error.kind != "infra":
            self._rows.pop(attempt.model, None)
            return
        row = self._rows.setdefault(attempt.model, _Row(since=self._clock()))
        row.lost += 1
        row.refused = row.refused + 1 if error.refused else 0
        if row.refused >= REFUSALS:
            raise OutageError(_sentence(f"the engine {attempt.model} refuses every request", error.message))
        lasted_s = self._clock() - row.since
        if row.lost >= self._at_once and lasted_s >= PATIENCE_S:
            minutes = f"every episode of {attempt.model} was lost for {lasted_s / 60:.0f} minutes"
            raise OutageError(_sentence(minutes, error.message))


def _sentence(what: str, cause: str) -> str:
    return f"{what} ({cause}); finished episodes are kept: mend the cause, then the same command runs the others"
