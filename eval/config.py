"""Configuration of the sweep. Imports neither Ray nor torch, so reading it is cheap."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from eval.benchmarks import Benchmark
from rollout import EpisodeProtocol, Sampling, WorkerConfig


class EvaluateConfig(BaseModel):
    """The sweep over checkpoints."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    benchmarks: tuple[Benchmark, ...] = (Benchmark(),)
    """The benchmarks, each run with every checkpoint."""
    sampling: Sampling = Sampling()
    """Decoding, the same for every checkpoint; greedy by default."""
    workers: WorkerConfig = WorkerConfig()
    """Workers that run episodes."""
    base: bool = True
    """Also measure the model that training started from."""
    base_protocols: tuple[EpisodeProtocol, ...] = Field((), exclude_if=lambda value: not value)
    """Protocols under which that model is measured, too, because it may not know the tags of the run's: `fenced`, or
    the run's with a worked example, `{extends: run, example: every}`. The report shows each as a row."""
    engines: tuple[str, ...] = ()
    """Also measure these servers of the section `engines`; their results are in `eval/engines` of the run folder."""
    seed: int = 0
    """Seed of the decoding."""
    max_unscored_share: float = Field(0.0, ge=0.0, lt=0.5, exclude_if=lambda value: value == 0)
    """Largest share of tasks that may stay without a verdict, because their server, kernel or grader failed, when a
    result is written. It lists them, and evaluating again runs them."""
    parity_tolerance: float = Field(0.01, gt=0.0)
    """Largest mean difference of log-probabilities between server and transformers; above it, nothing is measured."""
