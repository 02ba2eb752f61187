"""What a replay found: agreement by family and half, observations, and every disagreement with its reason.

Contract: a :class:`ReplayReport` is a value that is printed as JSON or as Markdown. Its two halves are the runs that
the record calls successful and those that it calls failed, because a grader can be wrong on either side. A run agrees
when our verdicts are the recorded ones. A disagreement is *explained* when the reference's rule
(:mod:`rollout.graders.legacy`) repeats the record: then the rules differ, and not the code that applies them.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

from pydantic import BaseModel, ConfigDict

HalfName = Literal["successful", "failed"]
HALVES: tuple[HalfName, HalfName] = ("successful", "failed")
SHOWN = 3
"""Examples of a group in the Markdown form; JSON has all."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Disagreement(_Value):
    """One run in which our verdict is not the recorded one."""

    run: str
    """``family/task/model``."""
    half: HalfName
    recorded: str
    ours: str
    legacy: str
    """The verdict of the reference's rule; the same as ``recorded`` where the rules differ."""
    reason: str
    """Why ours is what it is."""
    legacy_reason: str = ""
    proposed: str = ""
    """The start of the proposal that it is about."""

    @property
    def explained(self) -> bool:
        """Whether the reference's rule repeats the record."""
        return self.legacy == self.recorded

    @property
    def group(self) -> str:
        """Disagreements of one group have one cause. Quotations and numbers are left out of the reasons."""
        cause = f"reference: {_general(self.legacy_reason)}" if self.explained else _general(self.reason)
        return f"{self.run.partition('/')[0]}: recorded {self.recorded}, ours {self.ours} ({cause})"


class Half(_Value):
    """Counts of one half of a family's runs."""

    runs: int = 0
    compared: int = 0
    """Runs with a verdict of ours to compare: a game that was won has no answer for a grader."""
    agree: int = 0
    explained: int = 0
    """Runs that do not agree, in which the reference's rule repeats the record."""
    legacy_agree: int = 0
    """Runs in which the reference's rule repeats the record."""

    @property
    def agreement(self) -> float | None:
        """Share of compared runs that agree; None when none is compared."""
        return self.agree / self.compared if self.compared else None


class Observations(_Value):
    """How the outputs of cells compare (:mod:`rollout.checks.replay.observations`)."""

    compared: int = 0
    equal: int = 0
    normalised: int = 0
    """Equal after normalisation."""
    different: dict[str, int] = {}
    """Reason → number."""


class FamilyReport(_Value):
    """One family."""

    halves: dict[HalfName, Half]
    observations: Observations | None = None
    note: str = ""
    """Why runs were not executed, where they were not."""


class ReplayReport(_Value):
    """The result of a replay."""

    mode: Literal["graders", "executed"]
    protocol: str = ""
    """Name and digest of the protocol of executed episodes."""
    seconds: float = 0.0
    families: dict[str, FamilyReport]
    total: dict[HalfName, Half]
    disagreements: tuple[Disagreement, ...] = ()
    groups: dict[str, int] = {}
    """Group → number of disagreements."""

    def short_of(self, least: float) -> list[str]:
        """A sentence for each half whose agreement is below ``least``; explained disagreements count as agreement."""
        return [
            f"{_percent(half.agree + half.explained, half.compared)} of the {half.compared} {name} runs repeat the "
            f"recorded verdict, {least:.1%} are asked for"
            for name, half in self.total.items()
            if half.compared and half.agree + half.explained < least * half.compared
        ]

    def markdown(self) -> str:
        """Tables and groups, for a terminal and for documentation."""
        lines = [
            "| family | half | runs | compared | agree | explained | reference's rule |",
            "|---|---|---:|---:|---:|---:|---:|",
        ]
        for name, family in self.families.items():
            lines += [_row(name, half, family.halves[half]) for half in HALVES]
        lines += [_row("**all**", half, self.total[half]) for half in HALVES]
        lines += [f"\n{name}: {family.note}" for name, family in self.families.items() if family.note]
        if any(family.observations for family in self.families.values()):
            lines += ["", *_observation_rows(self.families)]
        if self.groups:
            lines += ["", "| disagreements | runs | for example |", "|---|---:|---|"]
            lines += [
                f"| {_cell(group)} | {count} | {_examples(self, group)} |" for group, count in self.groups.items()
            ]
        return "\n".join(lines)


def summed(halves: list[Half]) -> Half:
    """The counts of several halves together."""
    return Half(**{name: sum(getattr(half, name) for half in halves) for name in Half.model_fields})


def grouped(disagreements: tuple[Disagreement, ...]) -> dict[str, int]:
    """Group → number, the largest first."""
    return dict(Counter(found.group for found in disagreements).most_common())


def _general(reason: str) -> str:
    """A reason without what it quotes."""
    reason = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "…", reason)
    reason = re.sub(r"\b(letter|option|chooses) \w\b", r"\1 …", reason)
    return re.sub(r"-?\d[\d.,e+-]*", "#", reason).split("\n")[0][:120]


def _row(family: str, name: HalfName, half: Half) -> str:
    shares = (_percent(count, half.compared) for count in (half.agree, half.explained, half.legacy_agree))
    return f"| {family} | {name} | {half.runs} | {half.compared} | {' | '.join(shares)} |"


def _observation_rows(families: dict[str, FamilyReport]) -> list[str]:
    lines = [
        "| family | outputs | equal | after normalisation | different | reasons |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, family in families.items():
        if seen := family.observations:
            different = sum(seen.different.values())
            reasons = ", ".join(f"{reason} {count}" for reason, count in seen.different.items())
            shares = " | ".join(_percent(count, seen.compared) for count in (seen.equal, seen.normalised, different))
            lines.append(f"| {name} | {seen.compared} | {shares} | {reasons} |")
    return lines


def _examples(report: ReplayReport, group: str) -> str:
    found = [one for one in report.disagreements if one.group == group][:SHOWN]
    return _cell("; ".join(f"`{one.run}`" for one in found))


def _percent(count: int, of: int) -> str:
    return f"{count / of:.2%}" if of else "–"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
