"""A trainer that is stopped while it still imports ends as a stopped job: exit code 75, no traceback."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codeact_train.system.exit_codes import STOP_SIGNALS


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_stopped_while_importing(number: signal.Signals) -> None:
    trainer = subprocess.Popen(
        [sys.executable, "-m", "codeact_train", "--config", "job.json"], stderr=subprocess.PIPE, text=True
    )
    while not _catches(trainer.pid, signal.SIGUSR1):
        assert trainer.poll() is None
        time.sleep(0.001)
    trainer.send_signal(number)
    _, said = trainer.communicate(timeout=60)
    assert (trainer.returncode, said) == (75, "")


def _catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    return bool(caught >> (number - 1) & 1)
