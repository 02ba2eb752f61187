"""What a check of a benchmark finds, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rollout.checks.validate import Finding, Problem

GRADER = "grader"
"""The way of a check in which graders judge texts, without episodes."""
_KEPT = 20
"""Findings that a check lists; all are counted."""


@dataclass
class Check:
    """A benchmark, checked in one way.

    Attributes:
        benchmark: its name.
        way: ``grader``, or the benchmark's name of a protocol, such as ``code``.
        protocol: name of the protocol of the episodes.
        missing: which data are not on this machine; then nothing was checked.
        tasks: number of tasks.
        gold: right answers, or episodes of experts.
        accepted: those of them that were right.
        wrong: made wrong answers.
        rejected: those of them that were wrong.
        without_gold: tasks without a right answer or an expert to try.
    """

    benchmark: str
    way: str = GRADER
    protocol: str = ""
    missing: str = ""
    tasks: int = 0
    gold: int = 0
    accepted: int = 0
    wrong: int = 0
    rejected: int = 0
    without_gold: int = 0
    problems: int = 0
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def find(self, task: str, problem: Problem, proposed: str, reason: str) -> None:
        """Counts a finding."""
        self.add(Finding(task, problem, proposed, reason))

    def add(self, found: Finding) -> None:
        """Counts a finding."""
        self.problems += 1
        if len(self.findings) < _KEPT:
            self.findings.append(found)

    @property
    def ok(self) -> bool:
        """Nothing was found, or nothing could be checked."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "ok": self.ok, "seconds": round(self.seconds, 1)}


def table(checks: Sequence[Check]) -> str:
    """The checks as a Markdown table, then one line a finding."""
    lines = [
        "| benchmark | checked | tasks | without gold | gold accepted | wrong rejected |",
        "|---|---|---|---|---|---|",
    ]
    for check in checks:
        if check.missing:
            lines.append(f"| {check.benchmark} | not on this machine | | | | |")
            continue
        way = f"{check.way} (`{check.protocol}`)" if check.protocol else check.way
        gold, wrong = f"{check.accepted:,} of {check.gold:,}", f"{check.rejected:,} of {check.wrong:,}"
        cells = (check.benchmark, way, f"{check.tasks:,}", f"{check.without_gold:,}", gold, wrong)
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"{check.benchmark}: {check.missing}" for check in checks if check.missing]
    for check in checks:
        name = f"{check.benchmark}/{check.way}"
        for found in check.findings:
            line = f"{name}/{found.task}: {found.problem}: {' '.join(found.proposed.split())[:60]!r}"
            lines.append(f"{line}: {found.reason}" if found.reason else line)
        if more := check.problems - len(check.findings):
            lines.append(f"{name}: {more:,} more problems")
    return "\n".join(lines)
