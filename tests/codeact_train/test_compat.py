"""A run that an earlier version of the project began goes on: its job, corpus, checkpoint and metrics as it wrote them.

``tests/data/compat/run`` holds the first three of twelve steps. The expected losses are the ones that version printed
for the steps after them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data" / "compat" / "run"
LOSSES = {
    4: 5.0780181884765625, 5: 4.8531293869018555, 6: 4.735651016235352, 7: 4.613824367523193, 8: 4.5275187492370605,
    9: 4.440725803375244, 10: 4.397791385650635, 11: 4.3580403327941895, 12: 4.248396396636963,
}  # fmt: skip


def test_a_run_of_an_earlier_version_goes_on_where_it_stopped(tmp_path: Path) -> None:
    run = shutil.copytree(DATA, tmp_path / "run")
    job = json.loads((run / "train" / "job.json").read_text())
    job |= {"model": str(run / "model"), "corpus": str(run / "corpus"), "out": str(run / "train")}
    job["train"]["stop_after_steps"] = None
    (run / "train" / "job.json").write_text(json.dumps(job))

    done = subprocess.run(
        [sys.executable, "-m", "codeact_train", "--config", str(run / "train" / "job.json")],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )

    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in (run / "train" / "metrics.jsonl").read_text().splitlines()]
    steps = {event["step"]: event["loss"] for event in events if event["kind"] == "step"}
    assert sorted(steps) == list(range(1, 13))
    assert {step: steps[step] for step in LOSSES} == pytest.approx(LOSSES, rel=1e-5)
