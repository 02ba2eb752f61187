"""A process that ends with the one that started it, also when that one is killed with SIGKILL.

Contract: :func:`end_with_parent` asks the kernel (``prctl(2)`` with PR_SET_PDEATHSIG) for a signal at the end of the
thread that started this process, and ends this process at once if that has happened already. The request survives
exec, but not fork. Linux and the standard library only, so that it can be the first thing a process does.
"""

from __future__ import annotations

import ctypes
import os
import signal

LAUNCHER = "CODEACT_LAUNCHER"
"""Environment variable with the process id of the program that starts training processes."""

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Get signal ``number`` when the process ``parent``, which started this one, ends.

    ``parent`` must be known from outside: a process whose parent has ended has another one, which is not always
    process 1.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before prctl
        os.kill(os.getpid(), number)


def end_with_launcher(number: signal.Signals = signal.SIGKILL) -> None:
    """End with the process that started this one: the launcher named by the environment, or torchrun's agent.

    A process that was started by hand goes on when its shell ends.
    """
    launcher = os.environ.pop(LAUNCHER, None)
    if launcher is not None:
        end_with_parent(int(launcher), number)
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent(os.getppid(), number)
