"""From a fresh fork of the fork server to a kernel: limits, isolation, connection.

Contract: never returns. The first frame on the connection is ``ready`` (with descriptors: the workspace folder, and the
listening socket of the way out where the policy lists hosts) or ``failed`` with the reason; the host believes a kernel
isolated only after ``ready``. A kernel that is made for later use rehearses before it says so. Everything that needs
privileges happens before the first cell can arrive.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from sandbox.guest import tool_proxies
from sandbox.guest.connection import SocketPort
from sandbox.guest.isolation.namespaces import listen_for_proxy
from sandbox.guest.isolation.tiers import enter_kernel, has_namespaces
from sandbox.guest.kernel import LightKernel
from sandbox.guest.shell import SandboxShell
from sandbox.guest.streams import capture, renew_raw

MIB = 1 << 20


def become_kernel(
    request: dict[str, Any], fds: list[int], shell: SandboxShell | None, config: dict[str, Any], ready: dict[str, Any]
) -> None:
    """Runs as the forked child until the kernel ends, then leaves without exit handlers.

    ``fds``: the connection, the tools, five listening sockets when stock clients are to connect, the cgroup's doors.
    """
    line = socket.socket(fileno=fds[0])
    endpoints = fds[2:7] if request["connection"] else []
    code, started = 1, False
    try:
        for door in fds[2 + len(endpoints) :]:
            os.write(door, b"0")
        os.setsid()  # a process group reaches across pid namespaces: `kill 0` must not meet the fork server
        user = _own_user(ready) if has_namespaces(config["tier"]) else None
        folder = f"{config['base']}/{request['id']}"
        enter_kernel(config, folder, request["limits"], user, ready)
        handed = [os.open(".", os.O_PATH | os.O_DIRECTORY)]
        if config["reach"]["network"]:
            handed.append(listen_for_proxy())
        _close_all_but({0, 1, 2, *fds[:2], *endpoints, *handed})
        serve = _build(request, line, socket.socket(fileno=fds[1]), endpoints, shell)
        packet = json.dumps({"op": "ready"}).encode()
        line.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handed))])
        for fd in handed:
            os.close(fd)
        started = True
        serve()
        code = 0
    except BaseException as error:
        if not started:  # later the connection speaks frames; the end of the process says enough
            with suppress(OSError):
                line.send(json.dumps({"op": "failed", "error": f"{type(error).__name__}: {error}"}).encode())
    finally:
        os._exit(code)


def _build(
    request: dict[str, Any], line: socket.socket, tools: socket.socket, endpoints: list[int], shell: SandboxShell | None
) -> Callable[[], None]:
    """The kernel's own work, ready to begin."""
    limits = request["limits"]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.insert(0, "")  # the current folder: cells import the modules they write
    if shell is None:
        from sandbox.guest.ipykernel import serve_stock

        renew_raw()
        tool_proxies.HERE = tool_proxies.Toolbox(tools, limits["tool_message_kib"])
        return partial(serve_stock, request["connection"], endpoints)
    port = SocketPort(line, f"kernel-{request['id']}")
    if endpoints:
        from sandbox.guest import stdin
        from sandbox.guest.zmq import ZmqPort

        port = ZmqPort(request["connection"], endpoints)
        stdin.offer(port)
    streams = capture(port, limits["output_chars"], limits["printed_mib"] * MIB)
    tool_proxies.HERE = tool_proxies.Toolbox(tools, limits["tool_message_kib"])
    kernel = LightKernel(port, shell, streams, limits["output_chars"], limits["rich_output_kib"] * 1024)
    if request["rehearse"]:
        kernel.rehearse()
    return kernel.serve


def _own_user(ready: dict[str, Any]) -> int | None:
    """A user id no other process of this machine has: made from the process id the host knows this kernel by."""
    if os.geteuid() != 0:
        return None
    number = int(os.readlink("self", dir_fd=ready["host_proc"]))
    return ready["first_user"] + number % ready["users"]


def _close_all_but(keep: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) not in keep:
            with suppress(OSError):
                os.close(int(name))
