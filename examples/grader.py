"""A grader: a function that compares a proposed answer with the reference. This one gives partial credit."""

import re

from rollout import GRADERS


def within_ten_percent(proposed: str, reference: str) -> float:
    """1 for the exact number; less, the further it is off; 0 beyond a tenth of the reference."""
    found = re.findall(r"-?\d+(?:\.\d+)?", proposed)
    if len(found) != 1:
        return 0.0
    error = abs(float(found[0]) - float(reference)) / max(abs(float(reference)), 1e-9)
    return max(0.0, 1.0 - 10 * error)


def main() -> None:
    GRADERS.add("within_ten_percent", within_ten_percent)  # a package registers it as an entry point instead
    grade = GRADERS.get("within_ten_percent")  # a task names it: Task(..., grader="within_ten_percent")
    for proposed in ("200", "about 190 euros", "100", "no idea"):
        print(f"{proposed!r}: {grade(proposed, '200'):.2f}")  # → 'about 190 euros': 0.50


if __name__ == "__main__":
    main()
