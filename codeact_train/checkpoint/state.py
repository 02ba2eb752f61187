"""What the checkpoint manager needs from the state of a run: the protocols a backend implements.

Contract: all processes call the same methods in the same order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from codeact_train.checkpoint.integrity import Fingerprints


class PendingSave(Protocol):
    """A save in progress. It holds a copy of the state, so training may go on."""

    def done(self) -> bool:
        """Whether this process has written its part."""

    def finish(self) -> Fingerprints:
        """Complete the folder together with all other processes; returns the fingerprints of what this process wrote,
        read back from disk."""


class Checkpointable(Protocol):
    """State that can be saved and restored."""

    step: int
    """Optimizer steps taken."""

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""

    def fingerprints(self) -> Fingerprints:
        """Fingerprints of the current weights that this process owns, by the names they are saved under."""

    def write(self, folder: Path) -> PendingSave:
        """Start to save everything but the step into an empty folder. The files do not depend on the layout."""

    def read(self, folder: Path) -> None:
        """Load what :meth:`write` saved, in any layout, into a state that has not trained yet."""
