"""``python -m codeact_train --config job.json``: the trainer, which can be stopped from its first moment on.

Importing torch and Megatron takes seconds. A signal that comes meanwhile ends the process as a stopped job, not with
the traceback of an import; from the first step on :mod:`codeact_train.trainer` saves before it ends.
"""

import os
import signal
import sys

from codeact_train.exit_codes import ASKING, STOPPED


def main() -> int:
    """Entry point of each process; returns its exit code."""
    for number in ASKING:
        signal.signal(number, lambda *_: os._exit(STOPPED))
    from codeact_train.train import main as train

    return train()


if __name__ == "__main__":
    sys.exit(main())
