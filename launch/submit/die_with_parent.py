"""``python -m launch.submit.die_with_parent <command> …``: runs a command that ends when the thread that started it
does.

Why: a model server must not outlive a driver that was killed with SIGKILL. The kernel is asked to send SIGTERM at the
parent's end (``prctl(2)``, PR_SET_PDEATHSIG, which survives exec), then this process becomes the command. Linux only.
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
    if os.getppid() == 1:  # the parent ended before it could be watched
        sys.exit(1)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
