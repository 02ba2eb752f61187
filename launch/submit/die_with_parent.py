"""``python -m launch.submit.die_with_parent <command> …``: runs a command that ends with the thread that started it.

Why: a model server must not outlive a driver that was killed with SIGKILL. The starter puts its process id into the
environment (:data:`codeact_train.system.parent.LAUNCHER`); Linux sends SIGTERM when it ends, and this process becomes
the command. Linux only.
"""

from __future__ import annotations

import os
import signal
import sys

from codeact_train.system.parent import end_with_launcher


def main() -> None:
    """Entry of the program; does not return."""
    end_with_launcher(signal.SIGTERM)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
