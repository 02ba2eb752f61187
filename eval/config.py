"""Configuration of the sweep. Imports neither Ray nor a model, so that launchers may read it for free."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from eval.benchmarks import Benchmark
from rollout import Sampling, WorkerConfig


class EvaluateConfig(BaseModel):
    """A sweep."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    benchmarks: tuple[Benchmark, ...] = (Benchmark(),)
    """What is measured."""
    sampling: Sampling = Sampling()
    """Decoding, the same for every checkpoint; greedy by default."""
    workers: WorkerConfig = WorkerConfig()
    """How episodes are run."""
    base: bool = True
    """Measure the model training started from, too."""
    seed: int = 0
    """Seed of the decoding."""
    parity_tolerance: float = Field(0.01, gt=0.0)
    """Largest difference of a log-probability between server and transformers with which a checkpoint is measured."""
