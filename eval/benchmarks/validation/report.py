"""What a check of a benchmark finds, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.checks.validate import Counts

GRADER = "grader"
"""The way of a check in which graders judge texts, without episodes."""


@dataclass
class Check(Counts):
    """A benchmark, checked in one way.

    Attributes:
        benchmark: its name.
        way: ``grader``, or the benchmark's name of a protocol, such as ``code``.
        protocol: name of the protocol of the episodes.
    """

    benchmark: str
    way: str = GRADER
    protocol: str = ""


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
        cells = (check.benchmark, way, f"{check.tasks:,}", f"{check.without_answer:,}", *check.shares())
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"{check.benchmark}: {check.missing}" for check in checks if check.missing]
    return "\n".join([*lines, *(line for one in checks for line in one.lines(f"{one.benchmark}/{one.way}"))])
