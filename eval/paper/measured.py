"""Results of run folders, looked up by the paper's benchmarks.

Contract: a result stands for a benchmark of the paper when it has the benchmark's name and its number of tasks; a
measurement of fewer tasks is left out and named. Of several results of a checkpoint on one benchmark, the last counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.paper.published import api_bank, m3tooleval, mint
from eval.results import EvalResult, read_results
from eval.scores import figure_of

FORMATS = ("", "-json", "-text")
"""How the protocol's name ends for each format of Tables 2 and 3: CodeAct, JSON, text."""
SIZES: Mapping[str, tuple[int, ...]] = {
    "apibank": (api_bank().tasks, 389),
    "gsm8k": (1319,),
    "humaneval": (164,),
    "m3tooleval": (m3tooleval().tasks,),
    "miniwob": (184,),
    "mint": (sum(mint().sets.values()),),
    "mmlu": (14_042,),
    "mt_bench": (80,),
    "mt_bench-reference": (80,),
    "scienceworld": (270,),
}
"""Benchmark → tasks that the paper measured. API-Bank has 389, of which the paper counts ten twice."""

BY_REFERENCE: Mapping[str, str] = {"mt_bench-reference": "mt_bench"}
"""Benchmark by the reference system's rules → the benchmark of the paper, where other verdicts do not say all."""


@dataclass(frozen=True)
class MintCounts:
    """Solved tasks and tasks, by set."""

    solved: Mapping[str, int]
    tasks: Mapping[str, int]


@dataclass(frozen=True)
class MeasuredModel:
    """A checkpoint of a run and its results, by name of the benchmark."""

    name: str
    results: Mapping[str, Sequence[EvalResult]] = field(default_factory=dict)

    def result(self, benchmark: str, protocol_end: str | None = None) -> EvalResult | None:
        """The last result on a benchmark.

        Args:
            protocol_end: one of :data:`FORMATS`; None: any protocol.
        """
        found = self.results.get(benchmark, ())
        return next((one for one in reversed(found) if protocol_end is None or _format(one) == protocol_end), None)

    def figure(self, benchmark: str, protocol_end: str | None = None) -> float | None:
        """Percentage of solved tasks, or the mean score of a benchmark that is scored."""
        result = self.result(benchmark, protocol_end)
        return None if result is None else figure_of(result)

    def turns(self, benchmark: str, protocol_end: str) -> float | None:
        """Mean number of turns of an episode."""
        result = self.result(benchmark, protocol_end)
        return None if result is None else sum(one.steps for one in result.episodes) / len(result.episodes)

    def mint(self, k: int) -> MintCounts | None:
        """Solved tasks and tasks of each of MINT's sets with k turns; tasks without a verdict do not count."""
        result = self.result("mint" if k == 5 else f"mint-k{k}")
        if result is None:
            return None
        return MintCounts(
            Counter(one.kind for one in result.episodes if one.success), Counter(one.kind for one in result.episodes)
        )


def _format(result: EvalResult) -> str:
    return next((end for end in FORMATS[1:] if result.protocol.name.endswith(end)), "")


def measured_models(runs: Sequence[Path]) -> tuple[list[MeasuredModel], list[str]]:
    """The checkpoints of runs with their results on the paper's benchmarks, and a sentence for each result left out.

    A checkpoint that was also judged by the reference system's rules is there twice, the second time by those.

    Raises:
        ValueError: a run has no results, or a file of it is damaged.
    """
    models, notes = [], []
    for run in runs:
        found = [*read_results(run / "eval" / "results"), *read_results(run / "eval" / "engines" / "results")]
        if not found:
            raise ValueError(f"{run}: there are no results in eval/results; run `codeact evaluate` with this run first")
        by_model: dict[str, dict[str, list[EvalResult]]] = {}
        for result in sorted(found, key=lambda one: (one.checkpoint.epoch, one.started_at)):
            if (problem := _not_the_papers(result)) is None:
                by_model.setdefault(result.checkpoint.name, {}).setdefault(_family(result), []).append(result)
            else:
                notes.append(f"{run.resolve().name}, {result.checkpoint.name}: {problem}")
        for name, results in by_model.items():
            models.append(MeasuredModel(f"{run.resolve().name}: {name}", results))
            if by_reference := _by_reference(results):
                models.append(MeasuredModel(f"{models[-1].name}, by the reference's rules", by_reference))
    return models, notes


def _by_reference(results: Mapping[str, Sequence[EvalResult]]) -> dict[str, list[EvalResult]]:
    """The results that were also judged by the reference system's rules, with its verdicts in place of ours."""
    judged: dict[str, list[EvalResult]] = {}
    for name, found in results.items():
        if name in BY_REFERENCE:
            judged[BY_REFERENCE[name]] = list(found)
        for result in found if name not in BY_REFERENCE.values() else ():
            if result.legacy_solved is not None:
                episodes = [one.model_copy(update={"success": one.legacy_success}) for one in result.episodes]
                judged.setdefault(name, []).append(result.model_copy(update={"episodes": tuple(episodes)}))
    return judged


def _family(result: EvalResult) -> str:
    """The paper's name of a benchmark: that of the result, without the action format at its end."""
    name = result.benchmark.name
    return next((name.removesuffix(end) for end in FORMATS[1:] if name.endswith(end)), name)


def _not_the_papers(result: EvalResult) -> str | None:
    name, tasks = _family(result), result.benchmark.tasks
    sizes = SIZES["mint"] if name.startswith("mint-k") else SIZES.get(name)
    if sizes is None:
        return f"the paper has no benchmark {result.benchmark.name!r}"
    if tasks not in sizes:
        return f"{result.benchmark.name} was measured on {tasks:,} tasks, in the paper on {sizes[0]:,}"
    return None
