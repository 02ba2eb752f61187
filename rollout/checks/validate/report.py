"""What a check of a family finds, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Problem = Literal["right answer refused", "wrong answer accepted", "no verdict", "example fails"]

KEPT = 20
"""Findings that a report lists; all are counted."""


@dataclass(frozen=True)
class Finding:
    """One answer that was judged otherwise than it should be."""

    task: str
    problem: Problem
    proposed: str
    reason: str


@dataclass(kw_only=True)
class Counts:
    """What a check counts. ``missing`` says which data are not on this machine; then nothing was checked."""

    missing: str = ""
    tasks: int = 0
    right: int = 0
    """Right answers, or episodes of experts."""
    accepted: int = 0
    wrong: int = 0
    rejected: int = 0
    without_answer: int = 0
    """Tasks without a right answer to try, such as a game or a problem without a program."""
    problems: int = 0
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, found: Finding) -> None:
        """Counts a finding."""
        self.problems += 1
        if len(self.findings) < KEPT:
            self.findings.append(found)

    def include(self, other: Counts) -> None:
        """Adds the counts of answers and the findings of another check."""
        for name in ("right", "accepted", "wrong", "rejected", "without_answer"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for found in other.findings:
            self.add(found)

    @property
    def ok(self) -> bool:
        """Nothing was found, or nothing could be checked."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "ok": self.ok, "seconds": round(self.seconds, 1)}

    def shares(self) -> tuple[str, str]:
        """The accepted right answers and the rejected wrong ones, in words."""
        return f"{self.accepted:,} of {self.right:,}", f"{self.rejected:,} of {self.wrong:,}"

    def lines(self, name: str) -> list[str]:
        """One line a finding, each with ``name`` in front."""
        lines = []
        for found in self.findings:
            line = f"{name}/{found.task}: {found.problem}: {' '.join(found.proposed.split())[:60]!r}"
            lines.append(f"{line}: {found.reason}" if found.reason else line)
        more = self.problems - len(self.findings)
        return [*lines, f"{name}: {more:,} more problems"] if more else lines


@dataclass
class SplitReport(Counts):
    """The check of one split; ``refused`` counts the rows that are no tasks, by reason."""

    family: str
    split: str
    refused: dict[str, int] = field(default_factory=dict)


def table(reports: Sequence[SplitReport]) -> str:
    """The reports as a Markdown table, then one line a finding."""
    lines = ["| family | split | tasks | refused | right accepted | wrong rejected |", "|---|---|---|---|---|---|"]
    for report in reports:
        if report.missing:
            lines.append(f"| {report.family} | {report.split} | not on this machine | | | |")
            continue
        refused = ", ".join(f"{count:,} {reason}" for reason, count in sorted(report.refused.items())) or "0"
        cells = (report.family, report.split, f"{report.tasks:,}", refused, *report.shares())
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *(line for one in reports for line in one.lines(f"{one.family}/{one.split}"))])
