"""Judges 100,000 stored episodes again, half of them numeric and half multiple choice; the target is 60 s on 2 cores.

    python benchmarks/regrade.py [--episodes 100000] [--turns 4]

Makes a bank of episodes with the given number of turns (about 2 KB each) in a temporary folder, judges it with
``codeact bank regrade --out``, and checks that the new bank holds every episode and that the old one is unchanged.
Prints one line of JSON. Exit code 1 when it takes longer than 60 s.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from rollout import Message, Outcome, ProtocolRef, Sampling, TaskRef, Trajectory
from rollout.bank.store import write_bank
from rollout.bank.trajectory import GivenVerdict, Grading, Usage

MOST_S = 60.0


def episodes(count: int, turns: int) -> Iterator[Trajectory]:
    """Episodes whose answers are right, wrong, and judged otherwise than they were recorded."""
    rng = Random("regrade")
    for number in range(count):
        numeric, right, recorded = number % 2 == 0, rng.random() < 0.6, rng.random() < 0.6
        value = rng.randrange(10_000)
        options = [str(value + step) for step in (0, 7, 20, 300)]
        reference = str(value) if numeric else json.dumps({"letter": "a", "options": options})
        answer = f"{value if right else value + 7}" if numeric else ("A" if right else f"B) {options[1]}")
        cells = [
            message
            for turn in range(turns)
            for message in (
                Message(
                    role="assistant", kind="action", content=f"I compute it.\n<execute>\nprint({turn})\n</execute>" * 3
                ),
                Message(role="user", kind="observation", content=f"Observation:\n{turn}\n" * 8),
            )
        ]
        kind = "right" if recorded else "wrong"
        yield Trajectory(
            id=hashlib.sha256(str(number).encode()).hexdigest()[:16],
            task=TaskRef(family="benchmark", kind="k", split="s", group="s", id=str(number), digest="d"),
            model="none",
            sampling=Sampling(),
            protocol=ProtocolRef(name="codeact", digest="d"),
            messages=(
                Message(role="system", kind="instruction", content="Solve the task." * 10),
                Message(role="user", kind="task", content=f"What is {value}?"),
                *cells,
                Message(role="assistant", kind="proposal", content=f"So <solution>The answer is {answer}</solution>"),
            ),
            outcome=Outcome(success=recorded, reward=float(recorded), reason="solved" if recorded else "wrong_answer"),
            usage=Usage(steps=turns + 1, proposals=1),
            isolation="T2",
            seed=0,
            started_at="2026-01-01T00:00:00+00:00",
            wall_s=1.0,
            grading=Grading(
                grader="number" if numeric else "choice",
                reference=reference,
                verdicts=(GivenVerdict(kind=kind, reward=float(recorded)),),  # type: ignore[arg-type]
            ),
        )


def digest(bank: Path) -> str:
    """The digest of every byte of a bank."""
    found = hashlib.sha256()
    for shard in sorted(bank.glob("*.jsonl")):
        found.update(shard.read_bytes())
    return found.hexdigest()


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--episodes", type=int, default=100_000)
    arguments.add_argument("--turns", type=int, default=4)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bank, out = Path(folder, "bank"), Path(folder, "again")
        write_bank(bank, episodes(chosen.episodes, chosen.turns))
        before = digest(bank)
        size = sum(shard.stat().st_size for shard in bank.glob("*.jsonl"))
        command = [sys.executable, "-m", "launch.cli", "bank", "regrade", str(bank), "--out", str(out), "--json"]
        started = time.monotonic()
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        seconds = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        written = sum(line.count(b"\n") for shard in out.glob("*.jsonl") for line in [shard.read_bytes()])
        unchanged = digest(bank) == before
    result = {
        "episodes": found["episodes"],
        "graded": found["graded"],
        "changes": found["changes"],
        "bank_mib": round(size / 2**20, 1),
        "seconds": round(seconds, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "complete": written == found["episodes"] == chosen.episodes,
        "old_bank_unchanged": unchanged,
    }
    print(json.dumps(result))
    return int(not (result["complete"] and unchanged and seconds <= MOST_S))


if __name__ == "__main__":
    raise SystemExit(main())
