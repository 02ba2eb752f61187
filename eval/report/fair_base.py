"""The base model under several protocols, so that a gain in format is separated from a gain in skill.

Contract: results that differ in nothing but the protocol, and are of the base model alone, become rows beside the
:class:`~eval.report.success.Suite` that has the epochs. Every comparison is paired by task: exact McNemar test, Tango's
interval, Holm's adjustment over the rows. The best row is chosen on the tasks that it is reported on.
"""

from __future__ import annotations

from dataclasses import dataclass

from eval.report.rates import Rate, compare, rate_of
from eval.report.success import Suite
from eval.results import EvalResult
from eval.stats import Paired, holm


@dataclass(frozen=True)
class BaseRow:
    """The base model under one protocol, and the best epoch compared with it."""

    protocol: str
    rate: Rate
    change: Paired | None
    p_adjusted: float | None


@dataclass(frozen=True)
class FairBase:
    """The rows, that of the run's protocol first.

    Attributes:
        best_name: the epoch that is compared; None before one is measured.
        best_protocol: that of the row with the highest rate.
        format_gain: rate of that row less that of the first row.
        skill_gain: rate of the best epoch less that of that row; None before an epoch is measured.
    """

    rows: list[BaseRow]
    best_name: str | None
    best_protocol: str
    format_gain: float
    skill_gain: float | None


def with_base_rows(found: list[Suite]) -> list[tuple[Suite, FairBase | None]]:
    """The suites that the report has a section for, each with the base model's rows under other protocols."""
    groups: dict[tuple[str, str, str, int, int], list[Suite]] = {}
    for suite in found:
        first = suite.first
        benchmark, sampling = first.benchmark, first.sampling.model_dump_json()
        key = (benchmark.name, benchmark.digest, sampling, first.seed, benchmark.samples)
        groups.setdefault(key, []).append(suite)
    return [pair for group in groups.values() for pair in _of_group(group)]


def _of_group(group: list[Suite]) -> list[tuple[Suite, FairBase | None]]:
    """The run's protocol is that of the epochs; before there are any, the one that was measured first."""
    shown = [suite for suite in group if suite.best is not None or suite.base is None] or group[:1]
    others = [suite for suite in group if suite not in shown]
    bases = [shown[0].base, *(suite.base for suite in others)]
    results = [base for base in bases if base is not None]
    fair = _fair_base(results, shown[0].best) if others and shown[0].base is not None else None
    rest: list[tuple[Suite, FairBase | None]] = [(suite, None) for suite in shown[1:]]
    if fair is None:
        rest += [(suite, None) for suite in others]
    return [(shown[0], fair), *rest]


def _fair_base(results: list[EvalResult], best: EvalResult | None) -> FairBase:
    rates = [rate_of(result.episodes) for result in results]
    changes = [compare(result.episodes, best.episodes) for result in results] if best is not None else []
    adjusted = holm([change.p_value for change in changes])
    top = max(range(len(results)), key=lambda index: rates[index].interval.estimate)
    return FairBase(
        rows=[
            BaseRow(
                result.protocol.name,
                rate,
                changes[index] if changes else None,
                adjusted[index] if changes else None,
            )
            for index, (result, rate) in enumerate(zip(results, rates, strict=True))
        ],
        best_name=best.checkpoint.name if best is not None else None,
        best_protocol=results[top].protocol.name,
        format_gain=rates[top].interval.estimate - rates[0].interval.estimate,
        skill_gain=changes[top].difference.estimate if changes else None,
    )
