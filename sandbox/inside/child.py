"""From a fresh fork of the fork server to a kernel: limits, isolation, connection.

Contract: never returns. The first frame on the connection is ``ready`` (with the workspace folder as a descriptor) or
``failed`` with the reason; the host believes a kernel isolated only after ``ready``. Everything that needs privileges
happens before the first cell can arrive.
"""

from __future__ import annotations

import array
import json
import os
import random
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.inside.light import LightKernel
from sandbox.inside.port import SocketPort
from sandbox.inside.shell import SandboxShell
from sandbox.inside.streams import capture
from sandbox.inside.toolbox import Toolbox

MIB = 1 << 20


def become_kernel(request: dict[str, Any], fds: list[int], shell: SandboxShell, config: dict[str, Any]) -> None:
    """Runs as the forked child until the kernel ends, then leaves without exit handlers."""
    line = socket.socket(fileno=fds[0])
    tools = socket.socket(fileno=fds[1])
    code = 1
    try:
        os.setsid()
        workspace = _enter(request, config)
        _close_all_but({0, 1, 2, fds[0], fds[1], workspace})
        packet = json.dumps({"op": "ready"}).encode()
        line.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [workspace]))])
        os.close(workspace)
        _kernel(line, tools, shell, request).serve()
        code = 0
    except BaseException as error:
        with suppress(OSError):
            line.send(json.dumps({"op": "failed", "error": f"{type(error).__name__}: {error}"}).encode())
    finally:
        os._exit(code)


def _enter(request: dict[str, Any], config: dict[str, Any]) -> int:
    """Applies the tier's isolation and the limits; returns a descriptor of the workspace."""
    folder = Path(config["base"]) / str(request["id"])
    folder.mkdir(0o700)
    os.chdir(folder)
    os.environ["HOME"] = str(folder)
    _limit(request["limits"])
    return os.open(folder, os.O_PATH | os.O_DIRECTORY)


def _limit(limits: dict[str, Any]) -> None:
    data = limits["memory_mib"] * MIB + _data_bytes()
    for kind, value in (
        (resource.RLIMIT_DATA, data),
        (resource.RLIMIT_FSIZE, limits["workspace_mib"] * MIB),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def _data_bytes() -> int:
    """Private writable memory this process was born with; it counts against RLIMIT_DATA."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def _close_all_but(keep: set[int]) -> None:
    for entry in Path("/proc/self/fd").iterdir():
        if int(entry.name) not in keep:
            with suppress(OSError):
                os.close(int(entry.name))


def _kernel(line: socket.socket, tools: socket.socket, shell: SandboxShell, request: dict[str, Any]) -> LightKernel:
    limits = request["limits"]
    port = SocketPort(line, f"kernel-{request['id']}")
    streams = capture(port, limits["output_chars"], limits["printed_mib"] * MIB, _raw_file)
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    toolbox = Toolbox(tools, port.shield)
    return LightKernel(port, shell, streams, toolbox, limits["output_chars"], limits["rich_output_kib"] * 1024)


def _raw_file() -> int:
    """An unlinked file in the workspace's file system."""
    path = Path(".raw")
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
    path.unlink()
    return fd
