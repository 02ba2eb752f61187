"""Configuration of studies. Imports neither Ray nor torch, so reading it is cheap."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from eval.benchmarks import BENCHMARKS
from rollout import Sampling


class StudyBenchmark(BaseModel):
    """A benchmark of a study, and how many of its tasks."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, AfterValidator(BENCHMARKS.check)]
    """A registered benchmark with protocols for `code`, `json` and `text`."""
    tasks: int | None = Field(None, ge=2)
    """Number of tasks, taken at even distances from all of them; null: all."""
    data_root: Path | None = None
    """Folder of data sets; null: that of the environment variable CODEACT_DATA, else ~/.cache/codeact/data."""


class StudyConfig(BaseModel):
    """The study of action formats, `codeact study actions`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("base", "trained")
    """`base` (the model that training starts from), `trained` (the last export of the run), the name of an export such
    as `epoch-1`, a name of the section `engines`, or a folder: of a model, or of a run, whose last export counts."""
    benchmarks: Annotated[tuple[StudyBenchmark, ...], Field(min_length=1)] = (
        StudyBenchmark(name="m3tooleval"),
        StudyBenchmark(name="tool_suite"),
        StudyBenchmark(name="apibank"),
    )
    """The benchmarks. One whose data are not on this machine is named and left out."""
    samples: int = Field(1, gt=0)
    """Episodes of each task and format."""
    sampling: Sampling | None = None
    """How completions are drawn, the same for all formats; null: as each benchmark says."""

    @model_validator(mode="after")
    def _check_samples(self) -> StudyConfig:
        if self.samples > 1 and (self.sampling is None or self.sampling.temperature == 0):
            raise ValueError(
                f"study.samples={self.samples}: episodes drawn at temperature 0 are all the same; set "
                "study.sampling.temperature, or samples=1"
            )
        names = [one.name for one in self.benchmarks]
        if len(set(names)) < len(names):
            raise ValueError(f"study.benchmarks: {', '.join(names)} names one twice; take it out")
        if len(set(self.models)) < len(self.models):
            raise ValueError(f"study.models: {', '.join(self.models)} names one twice; take it out")
        return self
