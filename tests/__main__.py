"""Runs the suite: ``python -m tests [PYTEST OPTIONS]``, such as ``-m "not slow"`` or ``-x``.

The trainer's tests take about as long as all the others, so both run side by side, each in a pytest of its own. Groups
of processes and servers are set up in one of them only. The output of the trainer's tests follows that of the others.
The exit code is 0 when both pass.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
TRAINER = TESTS / "codeact_train"


def main(options: list[str]) -> int:
    """Runs both parts and prints how each ended. Returns 1 when one failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends both parts
    pytest = [sys.executable, "-m", "pytest", *options]
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        parts: dict[str, subprocess.Popen[Any]] = {}
        parts["trainer"] = subprocess.Popen([*pytest, str(TRAINER)], stdout=output, stderr=subprocess.STDOUT)
        try:
            command = [*pytest, str(TESTS), f"--ignore={TRAINER}"]
            others = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
            )
            parts["others"] = others
            texts = {"others": _echo(others)}
            codes = {name: part.wait() for name, part in parts.items()}
        finally:
            for part in parts.values():
                part.terminate()  # without effect on one that has ended
                part.wait()
        output.seek(0)
        texts["trainer"] = output.read()
    print(f"\n== tests/codeact_train\n{texts['trainer']}\n== summary")
    for text in texts.values():
        for line in re.findall(r"^(?:FAILED|ERROR) .*", text, re.MULTILINE):
            print(line)
    for name, text in texts.items():
        print(f"{name}: {text.strip().splitlines()[-1].strip('= ')}")
    return int(any(codes.values()))


def _echo(process: subprocess.Popen[str]) -> str:
    """Prints what a process writes, as it comes, and returns it."""
    assert process.stdout
    pieces = []
    while piece := process.stdout.read(1):
        print(piece, end="", flush=True)
        pieces.append(piece)
    return "".join(pieces)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
