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


@dataclass
class SplitReport:
    """The check of one split. ``missing`` says which data are not on this machine; then nothing was checked."""

    family: str
    split: str
    missing: str = ""
    tasks: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    right: int = 0
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

    @property
    def ok(self) -> bool:
        """Nothing was found, or nothing could be checked."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "ok": self.ok, "seconds": round(self.seconds, 1)}


def table(reports: Sequence[SplitReport]) -> str:
    """The reports as a Markdown table, then one line a finding."""
    lines = ["| family | split | tasks | refused | right accepted | wrong rejected |", "|---|---|---|---|---|---|"]
    for report in reports:
        if report.missing:
            lines.append(f"| {report.family} | {report.split} | not on this machine | | | |")
            continue
        refused = ", ".join(f"{count:,} {reason}" for reason, count in sorted(report.refused.items())) or "0"
        cells = (f"{report.accepted:,} of {report.right:,}", f"{report.rejected:,} of {report.wrong:,}")
        lines.append(f"| {report.family} | {report.split} | {report.tasks:,} | {refused} | {cells[0]} | {cells[1]} |")
    for report in reports:
        for found in report.findings:
            proposed = " ".join(found.proposed.split())[:60]
            line = f"{report.family}/{report.split}/{found.task}: {found.problem}: {proposed!r}"
            lines.append(f"{line}: {found.reason}" if found.reason else line)
        if more := report.problems - len(report.findings):
            lines.append(f"{report.family}/{report.split}: {more:,} more problems")
    return "\n".join(lines)
