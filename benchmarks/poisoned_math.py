"""Judges 1,000 poisoned answers with the grader ``math``: none may hang, eat memory or be false in silence.

    python benchmarks/poisoned_math.py [--count 1000] [--first 0] [--seconds 3600] [--json]

Each answer is made to break a symbolic comparison: deep nesting, huge powers, endless factorials, sums and integrals,
malformed LaTeX, huge texts, control characters. One in four equals its reference, so that "wrong" would be a false
verdict. Reported are the verdicts by kind of poison, the longest call, and the largest memory of this process and the
grader's processes together (proportional set size, above that before the first call). Exit code 1 when an answer took
more than 40 s, an equal answer was wrong, an unequal one right, or the memory grew by more than 200 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from rollout.graders import judge

MOST_S, MOST_MIB = 40.0, 200.0


def poisons(count: int, seed: int = 0) -> Iterator[tuple[str, str, str, bool]]:
    """Kind of poison, proposed answer, reference, and whether they are equal."""
    rng = Random(f"poison/{seed}")
    kinds = list(_KINDS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        proposed, value = _KINDS[kind](rng)
        equal = number // len(kinds) % 4 == 0 and value is not None
        yield kind, proposed, value if equal and value else str(rng.randrange(100, 999)), equal


def _nested(rng: Random) -> tuple[str, str]:
    depth = rng.choice([20, 80, 200, 2_000, 100_000])
    opening, closing = rng.choice([("(", ")"), ("{", "}"), ("\\sqrt{", "}"), ("\\frac{", "}{1}"), ("-(", ")")])
    value = "1" if opening != "-(" or depth % 2 == 0 else "-1"
    return opening * depth + "1" + closing * depth, value


def _power(rng: Random) -> tuple[str, str | None]:
    size = rng.choice([4, 6, 9, 12, 100])
    form = rng.choice(
        ["9^{{9^{{{0}}}}}", "2^{{10^{{{0}}}}}", "10^{{10^{{10^{{{0}}}}}}}", "2^{{10^{{{0}}}}}-2^{{10^{{{0}}}}}+7"]
    )
    tower = "^".join("{" + str(rng.randrange(2, 9)) for _ in range(size)) + "}" * size
    text = rng.choice([form.format(size), tower, f"(1+x)^{{{10**size}}}", f"1.{'0' * size}1^{{{10**size}}}"])
    return text, "7" if text.endswith("+7") else text + "+0"


def _factorial(rng: Random) -> tuple[str, str | None]:
    depth = rng.choice([2, 3, 5, 20, 60])
    text = rng.choice(
        ["9" * depth + "!", "(" * depth + "5" + "!)" * depth, "7" + "!" * depth, "\\binom{10^{8}}{5\\cdot 10^{7}}"]
    )
    return text, f"0+{text}"


def _series(rng: Random) -> tuple[str, str | None]:
    size = 10 ** rng.choice([3, 6, 9])
    form = rng.choice(
        [
            f"\\sum_{{n=1}}^{{{size}}} \\frac{{1}}{{n^2+\\sin(n)}}",
            f"\\prod_{{n=1}}^{{{size}}} (1+\\frac{{1}}{{n}})",
            "\\int_0^1 \\int_0^1 e^{\\sin(x^y)}\\cos(y^x) dx dy",
            f"\\int_0^{{{size}}} \\frac{{\\sin(x^x)}}{{\\ln(1+e^x)}} dx",
            "\\lim_{x\\to 0} \\frac{\\sin(\\tan x)-\\tan(\\sin x)}{x^7}",
        ]
    )
    return form, None


def _malformed(rng: Random) -> tuple[str, str | None]:
    pieces = [
        "\\frac",
        "{",
        "}",
        "^",
        "_",
        "\\sqrt",
        "$",
        "\\",
        "1",
        "x",
        "&",
        "\\begin{pmatrix}",
        "\\left(",
        "%",
        "\\boxed{",
    ]
    return "".join(rng.choice(pieces) for _ in range(rng.randrange(3, 60))), None


def _huge(rng: Random) -> tuple[str, str | None]:
    size = rng.choice([900, 5_000, 200_000, 2_000_000])
    digit = str(rng.randrange(1, 10))
    return rng.choice(
        [digit * size, "+".join([digit] * (size // 2)), "x" * size, "\\pi " * (size // 4), " " * size + "1"]
    ), None


def _control(rng: Random) -> tuple[str, str]:
    value = str(rng.randrange(100))
    return "".join(rng.choice(["\0", "\x1b[31m", "\u202e", "\ud800", "\x7f", "\r"]) for _ in range(9)) + value, value


def _equation(rng: Random) -> tuple[str, str | None]:
    degree = rng.randrange(5, 40)
    terms = "+".join(f"{rng.randrange(1, 99)}x^{{{power}}}" for power in range(1, degree))
    return rng.choice([f"{terms}=0", f"\\sin({terms})<\\cos(x)", f"e^x+{terms}=\\ln(x)", f"({terms})^{{50}}"]), None


def _expression(rng: Random) -> tuple[str, str | None]:
    size = rng.choice([5, 12, 30])
    terms = "+".join(f"\\sqrt{{{rng.randrange(2, 99)}+\\sqrt{{{rng.randrange(2, 99)}}}}}" for _ in range(size))
    matrix = "\\\\".join(
        "&".join(f"\\frac{{x^{{{row}}}}}{{{column + 1}+x}}" for column in range(size // 3)) for row in range(3)
    )
    return rng.choice([terms, f"\\left({terms}\\right)^{{99}}", f"\\begin{{pmatrix}}{matrix}\\end{{pmatrix}}"]), None


_KINDS = {
    "nesting": _nested,
    "powers": _power,
    "factorials": _factorial,
    "series": _series,
    "malformed": _malformed,
    "huge texts": _huge,
    "control characters": _control,
    "equations": _equation,
    "expressions": _expression,
}


class PeakMemory(threading.Thread):
    """Samples the memory of this process and its descendants, 20 times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self._now()
        self.most = self.before
        self._stop_asked = threading.Event()

    def run(self) -> None:
        while not self._stop_asked.wait(0.05):
            self.most = max(self.most, self._now())

    def grown_mib(self) -> float:
        """Ends the sampling."""
        self._stop_asked.set()
        return (self.most - self.before) / 1024

    @staticmethod
    def _now() -> int:
        total, waiting = 0, [os.getpid()]
        while waiting:
            pid = waiting.pop()
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(rollup.partition("\nPss:")[2].split()[0])
                for task in Path(f"/proc/{pid}/task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
            except (OSError, IndexError):  # it has ended
                continue
        return total


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=1_000)
    arguments.add_argument("--first", type=int, default=0, help="skip those before it")
    arguments.add_argument("--seconds", type=float, default=3_600.0, help="stop after this time")
    arguments.add_argument("--json", action="store_true")
    chosen = arguments.parse_args()
    memory = PeakMemory()
    memory.start()
    verdicts: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    faults: list[str] = []
    longest, started, judged = (0.0, ""), time.monotonic(), 0
    for number, (kind, proposed, reference, equal) in enumerate(poisons(chosen.count)):
        if number < chosen.first:
            continue
        if time.monotonic() - started > chosen.seconds:
            break
        judged += 1
        began = time.monotonic()
        verdict = judge("math", proposed, reference)
        longest = max(longest, (time.monotonic() - began, f"{kind}: {proposed[:60]!r}"))
        verdicts.setdefault(kind, Counter())[verdict.kind] += 1
        if verdict.kind == "none":
            reasons[verdict.reason.rpartition(": ")[2]] += 1
        if verdict.kind == ("wrong" if equal else "right") or not verdict.reason:
            faults.append(f"{number} {kind}: {proposed[:80]!r} for {reference[:80]!r}: {verdict}")
    result = {
        "answers": judged,
        "verdicts": {kind: dict(sorted(found.items())) for kind, found in verdicts.items()},
        "no verdict": dict(reasons.most_common()),
        "false": faults,
        "longest_s": round(longest[0], 2),
        "longest": longest[1],
        "seconds": round(time.monotonic() - started, 1),
        "memory_grown_mib": round(memory.grown_mib(), 1),
    }
    print(json.dumps(result, indent=None if chosen.json else 2))
    return int(bool(faults) or longest[0] > MOST_S or result["memory_grown_mib"] > MOST_MIB)  # type: ignore[operator]


if __name__ == "__main__":
    raise SystemExit(main())
