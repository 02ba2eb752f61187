"""Benchmarks: named sets of tasks that a checkpoint is measured on.

Contract: a benchmark is a name with a :class:`~rollout.families.TaskSet`, or a name registered in :data:`BENCHMARKS`,
which also reads the entry points of installed packages. Its digest is that of its tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval.benchmarks.spec import BenchmarkSpec
from rollout import (
    GRADERS,
    TASK_FAMILIES,
    DataFamily,
    EpisodeProtocol,
    Registry,
    Sampling,
    Task,
    TaskRef,
    TaskSet,
    digest_of,
    load_tasks,
)

BENCHMARKS = Registry(
    "codeact.benchmarks",
    "benchmark",
    {
        "apibank": "eval.benchmarks.apibank:level1",
        "apibank-level2": "eval.benchmarks.apibank:level2",
        "bfcl": "eval.benchmarks.bfcl:BFCL",
        "gsm8k": "eval.benchmarks.text:GSM8K",
        "humaneval": "eval.benchmarks.text:HUMANEVAL",
        "m3tooleval": "eval.benchmarks.m3tooleval:M3TOOLEVAL",
        "math": "eval.benchmarks.text:MATH",
        "mbpp": "eval.benchmarks.text:MBPP",
        "miniwob": "eval.benchmarks.miniwob:MINIWOB",
        "mint": "eval.benchmarks.mint:MINT",
        **{f"mint-k{k}": f"eval.benchmarks.mint:MINT_K{k}" for k in range(1, 5)},
        "mmlu": "eval.benchmarks.mmlu:MMLU",
        "mt_bench": "eval.benchmarks.mt_bench:MT_BENCH",
        "mt_bench-reference": "eval.benchmarks.mt_bench:MT_BENCH_REFERENCE",
        "procedural-heldout": "eval.benchmarks:procedural_heldout",
        "scienceworld": "eval.benchmarks.scienceworld:SCIENCEWORLD",
        "tool_suite": "eval.benchmarks.tool_suite:TOOL_SUITE",
        "wtq": "eval.benchmarks.wtq:WTQ",
        "wtq-sqlite": "eval.benchmarks.wtq:WTQ_SQLITE",
    },
)
"""Benchmark name → a :class:`BenchmarkSpec`, or ``tasks() -> list[Task]``, the same tasks in the same order at each
call."""
NO_TEMPERATURES: Mapping[str, float] = MappingProxyType({})


class Benchmark(BaseModel):
    """A name and the tasks behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = "procedural-heldout"
    """Shown in results; the digest of the tasks identifies the version."""
    tasks: TaskSet | None = None
    """The tasks; null: those of the registered benchmark of this name."""
    benchmark: str | None = Field(None, exclude_if=lambda value: value is None)
    """The registered benchmark, when `name` is another one, such as for a second protocol; null: `name`."""
    protocol: EpisodeProtocol | None = Field(None, exclude_if=lambda value: value is None)
    """The rules of its episodes; null: those of the registered benchmark, else the run's."""
    sampling: Sampling | None = Field(None, exclude_if=lambda value: value is None)
    """How completions are drawn; null: as the registered benchmark says, else `evaluate.sampling`."""
    samples: int | None = Field(None, gt=0, exclude_if=lambda value: value is None)
    """Episodes of each task, for pass@k; their seeds are that of `evaluate` and the numbers after it. Null: as the
    registered benchmark says, else 1."""
    data_root: Path | None = Field(None, exclude_if=lambda value: value is None)
    """Folder of data sets; null: that of the environment variable CODEACT_DATA, else ~/.cache/codeact/data."""
    families: tuple[str, ...] | None = Field(None, exclude_if=lambda value: value is None)
    """Of a registered benchmark with tasks of several families, such as `mint`, only these; null: all."""

    @model_validator(mode="after")
    def _check_registered(self) -> Benchmark:
        if self.tasks is None:
            BENCHMARKS.check(self.registered)
        elif self.benchmark is not None:
            raise ValueError(f"benchmark={self.benchmark}: it has its own tasks; take tasks or benchmark out")
        elif self.families is not None:
            raise ValueError("families: they belong to a registered benchmark; choose by tasks.family here")
        return self

    @property
    def registered(self) -> str:
        """Name of the registered benchmark."""
        return self.benchmark or self.name

    @property
    def spec(self) -> BenchmarkSpec | None:
        """What the registered benchmark fixes; None for a plain set of tasks."""
        part = BENCHMARKS.get(self.registered) if self.tasks is None else None
        return part if isinstance(part, BenchmarkSpec) else None

    def load(self) -> list[Task]:
        """Its tasks."""
        if self.tasks is not None:
            return load_tasks(self.tasks)
        spec = self.spec
        if spec is not None:
            return self._of_spec(spec)
        if self.families is not None:
            raise ValueError(f"families: {self.registered} has tasks of one family; take families out")
        tasks: list[Task] = BENCHMARKS.get(self.registered)()
        return tasks

    def _of_spec(self, spec: BenchmarkSpec) -> list[Task]:
        try:
            return spec.load(self.data_root, self.families)
        except ValueError as fault:
            if len(spec.families) == 1:
                raise
            raise ValueError(f"benchmark {self.name}: {fault}") from fault

    def place(self, task: TaskRef) -> dict[str, str]:
        """Id, kind and group of a task in results, where they are not those of the task itself."""
        spec = self.spec
        return {} if spec is None else spec.place(task)

    def protocol_or(self, protocol: EpisodeProtocol) -> EpisodeProtocol:
        """The protocol of its episodes.

        Args:
            protocol: that of the run.
        """
        if self.protocol is not None:
            return self.protocol
        return EpisodeProtocol.model_validate(self.spec.protocol) if self.spec else protocol

    @property
    def needs_judge(self) -> bool:
        """Whether a judge decides its episodes, as far as that is known without its data."""
        spec = self.spec
        sets = (self.tasks,) if self.tasks else spec.task_sets if spec else ()
        families = [(TASK_FAMILIES.get(one.family), one.split) for one in sets]
        names = {family.grader(split) for family, split in families if isinstance(family, DataFamily)}
        graders = [GRADERS.get(name) for name in ({spec.grader} if spec and spec.grader else names) if name]
        return any(getattr(grader, "needs_judge", False) for grader in graders)

    @property
    def episodes_each(self) -> int:
        """Episodes of each task."""
        return self.samples or (self.spec.samples if self.spec else 1)

    def sampling_or(self, sampling: Sampling) -> Sampling:
        """How its completions are drawn.

        Args:
            sampling: that of ``evaluate``.
        """
        return self.sampling or (self.spec.sampling if self.spec else sampling)

    @property
    def temperatures(self) -> Mapping[str, float]:
        """Kind of task → temperature of its completions, where it is not that of the sampling."""
        return self.spec.temperatures if self.spec and self.sampling is None else {}


def procedural_heldout() -> list[Task]:
    """60 tasks of the held-out split of the built-in family."""
    return load_tasks(TaskSet(split="heldout", count=60))


def benchmark_digest(tasks: list[Task], temperatures: Mapping[str, float] = NO_TEMPERATURES) -> str:
    """Changes when any task's prompt, data, tools or answer does, or a temperature that a kind has of its own."""
    digests: list[object] = [task.ref.digest for task in tasks]
    return digest_of([*digests, {"temperatures": dict(temperatures)}] if temperatures else digests)
