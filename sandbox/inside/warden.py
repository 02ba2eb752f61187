"""The first process of a pool: starts the fork server and cleans up after everyone.

Contract: executed with a clean environment by the pool's owner. Stays small (no third-party imports, about 8 MB) and
waits for two ends: its owner's and the fork server's. At either it kills every process below it and removes the pool's
folders, so a SIGKILL of the owner leaves nothing behind. It is a subreaper: processes that detach come to it.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """``argv[1]`` is the configuration as JSON; the control socket is inherited under the number it names."""
    config: dict[str, Any] = json.loads(sys.argv[1])
    owner = os.pidfd_open(config["owner"])
    if os.getppid() != config["owner"]:
        return
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = os.fork()
    if server == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.close(owner)
        sys.path += config["packages"]
        from sandbox.inside.zygote import serve

        del sys.path[0]  # our own source: kernels must not import from where it lies
        serve(config)
        os._exit(0)
    os.close(config["control"])
    end = os.pidfd_open(server)
    select.select([owner, end], [], [])
    _kill_all()
    shutil.rmtree(config["base"], ignore_errors=True)


def _kill_all() -> None:
    """Kills and reaps until no child is left; orphans become children, so this reaches every generation."""
    while True:
        for child in _children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
