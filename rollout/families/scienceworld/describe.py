"""Writes ``tasks.jsonl`` from the simulator: ``python -m rollout.families.scienceworld.describe``.

Contract: the reference's rule chooses the variations. With ``--check`` nothing is written, and the exit code is 1 when
the file differs. Cost: about a minute.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence

from rollout.families.scienceworld.client import names, start_world, variations
from rollout.families.scienceworld.family import TABLE

MOST = 10
FEWER = {15: 9, 25: 5}
"""Place of a task among the 30 → its number of test variations in the reference."""


def chosen(found: Sequence[int], most: int) -> list[int]:
    """The variations that are evaluated, as the reference shuffles them."""
    order = list(found)
    random.Random(1).shuffle(order)
    return order[:most]


def rows() -> Iterator[str]:
    """The lines of the file."""
    for split, most in (("test", FEWER), ("train", {})):
        for place, task in enumerate(names()):
            for variation in chosen(variations(task, split.capitalize()), most.get(place, MOST)):
                world = start_world(task, variation)
                row = {"split": split, "task": task, "variation": variation, "text": world.description()}
                world.close()
                yield json.dumps(row, ensure_ascii=False)


def main() -> int:
    """Writes or checks the file; returns the exit code."""
    text = "\n".join(rows()) + "\n"
    if "--check" in sys.argv[1:]:
        return int(TABLE.read_text(encoding="utf-8") != text)
    TABLE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
