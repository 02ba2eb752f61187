"""The fork server: imports what kernels need once, then turns one request into one forked kernel.

Contract: speaks JSON packets over a SOCK_SEQPACKET socket. ``{"op": "fork", "id", …}`` with two descriptors (the
kernel's connection and its tools) answers ``{"op": "forked", "id"}`` with a pidfd; each death is reported as
``{"op": "exit", "id", "status"}``. Single-threaded. A fork costs about 5 ms with numpy and pandas loaded. Its memory
is readable by every kernel, so nothing secret ever enters it.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import select
import signal
import site
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.inside.child import become_kernel
from sandbox.inside.shell import SandboxShell, build_shell

PACKET = 1 << 16
WARM_CELLS = ("1 + 1", "x = 'warm'\nprint(x)\nx", "import math\nmath.sqrt(2)", "1 / 0", "del x")


def serve(config: dict[str, Any]) -> None:
    """Prepares and answers until the owner closes the connection."""
    control = socket.socket(fileno=config["control"])
    try:
        for name in config["preload"]:
            importlib.import_module(name)
        site.sethelper()  # -S leaves help() out
        shell = build_shell()
    except BaseException as error:
        control.send(json.dumps({"op": "failed", "error": f"{type(error).__name__}: {error}"}).encode())
        return
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()
    control.send(json.dumps({"op": "ready", "threads": len(list(Path("/proc/self/task").iterdir()))}).encode())
    kernels: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 512)
            _reap(control, kernels)
        if control.fileno() in ready:
            data, fds, _, _ = socket.recv_fds(control, PACKET, 4)
            if not data:
                return
            _fork(json.loads(data), fds, control, kernels, shell, config)


def _fork(
    request: dict[str, Any],
    fds: list[int],
    control: socket.socket,
    kernels: dict[int, int],
    shell: SandboxShell,
    config: dict[str, Any],
) -> None:
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        become_kernel(request, fds, shell, config)
    pidfd = os.pidfd_open(pid)
    kernels[pid] = request["id"]
    answer = json.dumps({"op": "forked", "id": request["id"]}).encode()
    control.sendmsg([answer], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [pidfd]))])
    for fd in (*fds, pidfd):
        os.close(fd)


def _reap(control: socket.socket, kernels: dict[int, int]) -> None:
    """Reports every death. What a kernel left in its process group dies with it."""
    while True:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if dead is None:
            return
        pid = dead.si_pid
        if pid in kernels:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if pid in kernels:
            report = {"op": "exit", "id": kernels.pop(pid), "status": os.waitstatus_to_exitcode(status)}
            control.send(json.dumps(report).encode())
