"""The scorecard as Markdown: one row per case while the suite runs, then counts per group."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.security_suite.verdict import Score, Verdict

SIGNS: dict[Verdict, str] = {"held": "held", "breach": "BREACH", "not promised": "not promised", "not run": "not run"}
HEAD = "| group | case | verdict | stopped by | the host saw | s |\n|---|---|---|---|---|---|"


def row(score: Score) -> str:
    """One line of the table under :data:`HEAD`."""
    cells = (score.group, score.case, SIGNS[score.verdict], score.stopped_by, score.seen, f"{score.seconds:.2f}")
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def summary(scores: Sequence[Score]) -> str:
    """Counts of each verdict, per group and in total."""
    groups = {name: [score.verdict for score in scores if score.group == name] for name in _names(scores)}
    groups["all"] = [score.verdict for score in scores]
    lines = [f"| group | cases | {' | '.join(SIGNS.values())} |", f"|---|{'---|' * (len(SIGNS) + 1)}"]
    for name, verdicts in groups.items():
        counts = " | ".join(str(verdicts.count(verdict)) for verdict in SIGNS)
        lines.append(f"| {name} | {len(verdicts)} | {counts} |")
    return "\n".join(lines)


def breaches(scores: Sequence[Score]) -> list[Score]:
    """Cases that contradict the probe's claims."""
    return [score for score in scores if score.verdict == "breach"]


def _names(scores: Sequence[Score]) -> list[str]:
    return list(dict.fromkeys(score.group for score in scores))
