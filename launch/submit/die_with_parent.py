"""``python -m launch.submit.die_with_parent <command> …``: runs a command that ends with the thread that started it.

Why: a model server must not outlive a driver that was killed with SIGKILL. ``prctl(2)`` with PR_SET_PDEATHSIG, which
survives exec, makes Linux send SIGTERM when the parent ends; then this process becomes the command. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Entry of the program; does not return."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:  # the parent ended before prctl
        sys.exit(1)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
