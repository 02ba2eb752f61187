"""The first process of a pool: starts the fork server and cleans up after everyone.

Contract: executed with a clean environment by the pool's owner. Stays small (no third-party imports, about 8 MB) and
waits for two ends: its owner's and the fork server's. At either it kills every process below it and removes the pool's
folders, so a SIGKILL of the owner leaves nothing behind. It is a subreaper: processes that detach come to it. Its own
SIGKILL ends the fork server, which takes everything with it: with its pid namespace, or where it has none by itself.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.guest.isolation.descendants import kill_descendants
from sandbox.guest.isolation.linux import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl
from sandbox.guest.isolation.tiers import enter_warden, has_namespaces
from sandbox.workspace.walk import remove_tree


def main(config: dict[str, Any]) -> None:
    """``config`` came as one line on standard input; the control socket is inherited under the number it names."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    owner = os.pidfd_open(config["owner"])
    if os.getppid() != config["owner"]:
        return
    Path(config["base"]).mkdir(0o700)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    enter_warden(config["tier"])
    server = os.fork()
    if server == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL if has_namespaces(config["tier"]) else signal.SIGTERM)
        os.close(owner)
        sys.path += config["packages"]
        from sandbox.guest import heap_layout

        heap_layout.reserve()
        from sandbox.guest.zygote import serve

        del sys.path[0]  # our own source: kernels must not import from where it lies
        serve(config)
        os._exit(0)
    os.close(config["control"])
    end = os.pidfd_open(server)
    signal.signal(signal.SIGTERM, lambda *_: kill_descendants())  # then the fork server has ended, hung or not
    select.select([owner, end], [], [])
    kill_descendants()
    remove_tree(config["base"])
    for folder in config["cgroups"]:
        for path in (*Path(folder).glob("*/"), Path(folder)):
            with suppress(OSError):
                path.rmdir()
