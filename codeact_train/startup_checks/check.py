"""What a check looks at, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass

from codeact_train.backends.run_state import RunState
from codeact_train.config.train import TrainJob
from codeact_train.data.corpus import Corpus
from codeact_train.distributed.parallel_context import ParallelContext
from codeact_train.model.source import ModelSource


@dataclass(frozen=True)
class CheckContext:
    """What the checks look at."""

    job: TrainJob
    ctx: ParallelContext
    state: RunState
    corpus: Corpus
    source: ModelSource


@dataclass(frozen=True)
class StartupCheck:
    """Result of one check: a measured number and its bound. ``measures``: what the number is."""

    name: str
    value: float
    bound: float
    measures: str

    @property
    def passed(self) -> bool:
        """Whether the number is within its bound (a NaN is not)."""
        return self.value <= self.bound


class StartupCheckFailed(RuntimeError):
    """A check failed: training would have gone wrong silently."""
