"""``python -m sandbox.battery [--tier T2] [--kernel ipykernel] [--json]``: the scorecard; exit code 1 at a breach."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from sandbox.battery.run import Score, Verdict, run_battery
from sandbox.probing import probe

SIGNS: dict[Verdict, str] = {"held": "held", "breach": "BREACH", "not promised": "not promised", "not run": "not run"}


def main() -> int:
    """Runs the battery and reports."""
    parser = argparse.ArgumentParser(prog="sandbox.battery", description="Hostile cells and what stopped them.")
    parser.add_argument("--tier", choices=("T3", "T2", "T1", "T0"), default=probe().tier)
    parser.add_argument("--kernel", choices=("light", "ipykernel"), default="light")
    parser.add_argument("--json", action="store_true", help="one JSON array instead of a table")
    chosen = parser.parse_args()
    if not chosen.json:
        print(f"tier {chosen.tier}, kernel {chosen.kernel}\n\n| group | case | verdict | stopped by | seen | s |")
        print("|---|---|---|---|---|---|")
    scores = asyncio.run(
        run_battery(chosen.tier, chosen.kernel, on_score=(lambda score: None) if chosen.json else _print_row)
    )
    breaches = sum(score.verdict == "breach" for score in scores)
    if chosen.json:
        print(json.dumps([score.model_dump() for score in scores], indent=1))
    else:
        _print_summary(scores)
    return 1 if breaches else 0


def _print_summary(scores: list[Score]) -> None:
    print(f"\n| group | cases | {' | '.join(SIGNS.values())} |\n|---|{'---|' * (len(SIGNS) + 1)}")
    for group in dict.fromkeys(score.group for score in scores):
        verdicts = [score.verdict for score in scores if score.group == group]
        counts = [str(verdicts.count(name)) for name in SIGNS]
        print(f"| {group} | {len(verdicts)} | {' | '.join(counts)} |")


def _print_row(score: Score) -> None:
    seen = score.seen.replace("|", "/").replace("\n", " ")
    cells = (score.group, score.case, SIGNS[score.verdict], score.stopped_by, seen, f"{score.seconds:.2f}")
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
