"""Memory of prepare by the number of records, and what ten million would take.

Two corpora of short records are made, each in a process of its own, with one worker, exact and near duplicates looked
for; what the larger needs more at its peak is the price of its further records, since what is held otherwise (the
libraries, a bunch of records) does not grow. Counted is memory that only this process can give back (RssAnon, looked at
every 10 ms); pages of mapped files are not, because the system takes them back when it needs them.

    python benchmarks/prepare_memory.py --model <HF folder> [--records 50000 200000] [--json out]

Ends with 1 when ten million records would take more than 8 GiB.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

MANY, LIMIT_GIB = 10_000_000, 8.0
WORDS = [f"word{number}" for number in range(1000)]


def prepare_many(model: Path, count: int) -> dict[str, float]:
    """Make a corpus of so many records in this process; returns seconds and the peak of its memory."""
    from codeact_train import PrepareConfig
    from codeact_train.prepare import prepare

    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "records.jsonl").open("w") as file:
            for number in range(count):
                said = [" ".join(rng.choices(WORDS, k=8)) + f" {number}", " ".join(rng.choices(WORDS, k=4))]
                turns = [
                    {"role": role, "content": text} for role, text in zip(("user", "assistant"), said, strict=True)
                ]
                file.write(json.dumps({"id": f"record-{number}", "conversations": turns}) + "\n")
        settings = PrepareConfig(sequence_length=4096, deduplicate="near", workers=1)
        with Peak() as peak:
            ledger = prepare(folder / "records.jsonl", model, folder / "corpus", settings)
    return {"records": ledger.records_read, "seconds": peak.seconds, "peak_bytes": peak.size}


class Peak:
    """The most anonymous memory this process has within a ``with``."""

    def __enter__(self) -> Peak:
        self.size, self._began, self._ended = 0, time.perf_counter(), threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            lines = Path("/proc/self/status").read_text().splitlines()
            now = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
            self.size = max(self.size, now)


def main() -> int:
    """Measure twice, reckon, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder with a tokenizer")
    parser.add_argument("--records", type=int, nargs=2, default=[50_000, 200_000])
    parser.add_argument("--json", type=Path, help="write the result here too")
    parser.add_argument("--only", type=int, help="make one corpus, here, and print JSON")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(prepare_many(arguments.model, arguments.only)))
        return 0
    made: list[dict[str, Any]] = []
    for count in sorted(arguments.records):
        command = [sys.executable, __file__, "--model", str(arguments.model), "--only", str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        made.append(json.loads(done.stdout.splitlines()[-1]))
        one = made[-1]
        print(f"{one['records']:>10,} records: {one['seconds']:.0f} s, peak {one['peak_bytes'] / 2**30:.2f} GiB")
    small, large = made
    each = (large["peak_bytes"] - small["peak_bytes"]) / (large["records"] - small["records"])
    many = (small["peak_bytes"] + each * (MANY - small["records"])) / 2**30
    print(f"{each:.0f} bytes a record; {MANY:,} records would take {many:.2f} GiB (reckoned, not run)")
    if arguments.json:
        arguments.json.write_text(json.dumps({"made": made, "bytes_a_record": each, "many_gib": many}, indent=1) + "\n")
    return 0 if many <= LIMIT_GIB else 1


if __name__ == "__main__":
    sys.exit(main())
