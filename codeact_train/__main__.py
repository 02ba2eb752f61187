"""``python -m codeact_train --config job.json``: the trainer, which can be stopped from the start.

Importing torch and Megatron takes seconds. A signal that arrives during the import ends the process with the exit code
of a stopped job, not with a traceback. Once training runs, :mod:`codeact_train.trainer` saves before it stops. A
process that a launcher started ends with it, also when the launcher is killed with SIGKILL.
"""

import os
import signal
import sys

from codeact_train.system.exit_codes import STOP_SIGNALS, STOPPED
from codeact_train.system.library_warnings import hide_deprecations
from codeact_train.system.parent import end_with_launcher


def main() -> int:
    """Entry point of each process; returns its exit code."""
    end_with_launcher()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: os._exit(STOPPED))
    hide_deprecations()
    from codeact_train.train import main as train

    return train()


if __name__ == "__main__":
    sys.exit(main())
