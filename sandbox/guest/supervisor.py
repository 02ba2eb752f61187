"""The first processes of a pool: a guard and a supervisor, which clean up at the end, and below them the fork server.

Contract: the pool's owner executes the guard with a clean environment. It forks the supervisor, which forks the fork
server. Guard and supervisor stay small (no third-party imports, about 8 MB, mostly shared). The supervisor waits for
the end of its owner, of the guard or of the fork server. Then it kills every process below it and removes the pool's
folders. The guard does the same when the supervisor has ended. So a SIGKILL of the owner leaves nothing behind, nor one
of the owner and its children, which is what Ray does to a worker. Both are subreapers: detached processes become their
children. A SIGKILL of the supervisor ends the fork server and with it the kernels: through the pid namespace, or where
there is none through the fork server's own clean-up.
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
    """Runs the guard and its supervisor. ``config`` was one line on standard input; ``config["control"]`` is an
    inherited socket."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    owner = os.pidfd_open(config["owner"])
    if os.getppid() != config["owner"]:
        return
    Path(config["base"]).mkdir(0o700)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.pidfd_open(os.getpid())
    supervisor = os.fork()
    if supervisor:
        os.close(config["control"])
        signal.signal(signal.SIGTERM, lambda *_: os.kill(supervisor, signal.SIGTERM))
        os.waitpid(supervisor, 0)
        _clean_up(config, owner)
    else:
        _supervise(config, owner, guard)


def _supervise(config: dict[str, Any], owner: int, guard: int) -> None:
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # not inherited
    enter_supervisor(config["tier"])
    server = os.fork()
    if server == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL if has_namespaces(config["tier"]) else signal.SIGTERM)
        os.close(owner)
        os.close(guard)
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
    select.select([owner, guard, end], [], [])
    _clean_up(config, owner)


def _clean_up(config: dict[str, Any], owner: int) -> None:
    """Ends and removes everything of the pool; what belongs to its owner only if that has ended."""
    kill_descendants()
    remove_tree(config["base"])
    for folder in config["cgroups"]:
        with suppress(OSError):  # the owner may remove it at the same time
            for path in Path(folder).glob("*/"):
                with suppress(OSError):
                    path.rmdir()
        with suppress(OSError):
            Path(folder).rmdir()
    if select.select([owner], [], [], 0)[0]:
        for folder in config["owned"]:
            remove_tree(folder)
