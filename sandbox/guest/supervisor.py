"""The first process of a pool: starts the fork server and cleans up at the end.

Contract: executed with a clean environment by the pool's owner. It stays small (no third-party imports, about 8 MB) and
waits for its owner or the fork server to end. Then it kills every process below it and removes the pool's folders, so
a SIGKILL of the owner leaves nothing behind. It is a subreaper: detached processes become its children. A SIGKILL of
the supervisor ends the fork server and with it the kernels: through the pid namespace, or where there is none through
the fork server's own clean-up.
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
from sandbox.guest.isolation.tiers import enter_supervisor, has_namespaces
from sandbox.workspace.walk import remove_tree


def main(config: dict[str, Any]) -> None:
    """Runs the supervisor. ``config`` was one line on standard input; ``config["control"]`` is an inherited socket."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    owner = os.pidfd_open(config["owner"])
    if os.getppid() != config["owner"]:
        return
    Path(config["base"]).mkdir(0o700)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    enter_supervisor(config["tier"])
    server = os.fork()
    if server == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL if has_namespaces(config["tier"]) else signal.SIGTERM)
        os.close(owner)
        sys.path += config["packages"]
        from sandbox.guest import heap_layout, interpreter

        interpreter.present(config["prefix"], config["packages"])
        heap_layout.reserve_arenas()
        from sandbox.guest.zygote import serve

        del sys.path[0]  # the project's source, which kernels must not import
        serve(config)
        os._exit(0)
    os.close(config["control"])
    end = os.pidfd_open(server)
    signal.signal(signal.SIGTERM, lambda *_: kill_descendants())  # ends also a fork server that hangs
    select.select([owner, end], [], [])
    kill_descendants()
    remove_tree(config["base"])
    for folder in config["cgroups"]:
        for path in (*Path(folder).glob("*/"), Path(folder)):
            with suppress(OSError):
                path.rmdir()
