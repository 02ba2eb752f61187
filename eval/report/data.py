"""Origin of the training data, and what became of every record and token.

Contract: counts from the bank, ``selection.json`` and ``ledger.json``. The sums of the ledger are recomputed, so that
the page shows whether they balance. Nothing is estimated.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.report.success import by_reason
from rollout import Trajectory


@dataclass(frozen=True)
class CollectionRow:
    """Episodes of one model on one kind of task."""

    model: str
    kind: str
    episodes: int
    solved: int
    cells: float
    error_share: float
    reasons: dict[str, int]


@dataclass(frozen=True)
class Equation:
    """A sum that the ledger must satisfy: ``total`` = the sum of ``parts``."""

    name: str
    total: int
    parts: list[tuple[str, int]]

    @property
    def balances(self) -> bool:
        """Whether the parts add up to the total."""
        return self.total == sum(count for _, count in self.parts)


def collection(bank: Sequence[Trajectory]) -> list[CollectionRow]:
    """One row per model and kind; ``cells`` is a mean, ``error_share`` the share of episodes with a failing cell."""
    groups: dict[tuple[str, str], list[Trajectory]] = {}
    for one in bank:
        groups.setdefault((one.model, one.task.kind), []).append(one)
    return [
        CollectionRow(
            model=model,
            kind=kind,
            episodes=len(group),
            solved=sum(one.outcome.success for one in group),
            cells=sum(one.usage.cells for one in group) / len(group),
            error_share=sum(one.usage.error_cells > 0 for one in group) / len(group),
            reasons=by_reason(one.outcome.reason for one in group),
        )
        for (model, kind), group in sorted(groups.items())
    ]


def faults(bank: Sequence[Trajectory]) -> dict[str, int]:
    """Number of failed episodes by kind of error."""
    return dict(Counter(one.outcome.error.kind for one in bank if one.outcome.error))


def equations(ledger: dict[str, Any]) -> list[Equation]:
    """The sums of the ledger, recomputed from its parts."""
    halves = [(name, ledger[name]) for name in ("train", "validation")]
    out = [
        Equation(
            "records read", ledger["records_read"], [("kept", ledger["records_kept"]), *_parts(ledger["dropped"])]
        ),
        Equation(
            "tokens read, repeated and added",
            ledger["tokens_read"] + ledger["tokens_repeated"] + ledger["tokens_added"],
            [*((name, half["tokens"]) for name, half in halves), *_parts(ledger["tokens_dropped"])],
        ),
    ]
    for name, half in halves:
        if half["documents"]:
            out.append(Equation(f"{name} tokens", half["tokens"], list(half["by_role"].items())))
            out.append(
                Equation(f"{name} slots", half["slots"], [("filled", half["filled"]), ("padding", half["padding"])])
            )
    return out


def _parts(dropped: dict[str, int]) -> list[tuple[str, int]]:
    return [(f"dropped: {reason.replace('_', ' ')}", count) for reason, count in dropped.items()]


def span_s(bank: Sequence[Trajectory]) -> float:
    """Seconds from the start of the first episode to the end of the last, including pauses between runs."""
    starts = [datetime.datetime.fromisoformat(one.started_at.replace("Z", "+00:00")).timestamp() for one in bank]
    return max(start + one.wall_s for start, one in zip(starts, bank, strict=True)) - min(starts)
