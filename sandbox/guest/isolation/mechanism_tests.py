"""Tests every isolation mechanism by using it, each in its own child process.

Contract: prints one JSON object that maps each mechanism to null (it works) or to the reason why not. Versions and
configuration files are ignored, because a container's own filter may forbid what its Linux kernel supports.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.guest.isolation import landlock, linux, namespaces, seccomp, tiers

LIMITS = {"memory_mib": 64, "workspace_mib": 1, "workspace_inodes": 100, "open_files": 64, "processes": 8}


def main(config: dict[str, Any]) -> None:
    """Runs all tests."""
    results: dict[str, Any] = {
        name: _in_child(test, config)
        for name, test in (("namespaces", _namespaces), ("landlock", _landlock), ("seccomp", _seccomp))
    }
    print(json.dumps({**results, "landlock_abi": landlock.abi()}))


def _in_child(test: Callable[[dict[str, Any]], None], config: dict[str, Any]) -> str | None:
    """The failure of ``test`` in a child process; None if it passes."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        failure = ""
        try:
            test(config)
        except BaseException as error:
            failure = f"{type(error).__name__}: {error}"
        os.write(write, failure.encode()[:2000] or b"\0")
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        failure = pipe.read().decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return None if failure == "\0" else failure or "the test process died"


def _namespaces(config: dict[str, Any]) -> None:
    """The processes of a pool: supervisor, fork server, kernel."""
    tiers.enter_supervisor("T2")
    _expect_child_ok(lambda: _as_server(config))


def _as_server(config: dict[str, Any]) -> None:
    user = 12345 if os.geteuid() == 0 else None
    tiers.enter_server({**config, "tier": "T2"})
    own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY)
    namespaces.unshare_next()
    linux.unshare(linux.CLONE_NEWPID)
    _expect_child_ok(lambda: _as_kernel(user))
    linux.setns(own_pids, linux.CLONE_NEWPID)


def _as_kernel(user: int | None) -> None:
    namespaces.enter(LIMITS, user)
    linux.drop_capabilities()
    if os.getpid() != 1 or len([name for name in os.listdir("/proc") if name.isdigit()]) != 1:  # noqa: PTH208
        raise OSError("other processes are visible")
    if Path("/etc/shadow").exists() or os.access("/usr", os.W_OK):
        raise OSError("the host's files are visible or writable")
    Path("here").write_text("x")
    with suppress(OSError):
        namespaces.mount("x", "/tmp", "tmpfs")
        raise AssertionError("a kernel can still mount")


def _landlock(config: dict[str, Any]) -> None:
    version = landlock.abi()
    if not version:
        raise OSError("this Linux has no Landlock, or it is switched off")
    landlock.restrict(["/usr"], [], version)
    with suppress(PermissionError):
        os.listdir("/")  # noqa: PTH208
        raise AssertionError("Landlock does not hold")


def _seccomp(config: dict[str, Any]) -> None:
    seccomp.load(seccomp.assemble((), count_memory=True, shared=True))
    try:
        linux.unshare(linux.CLONE_NEWUTS)
    except OSError as error:
        if error.errno == errno.EPERM:
            return
    raise AssertionError("the filter does not hold")


def _expect_child_ok(step: Callable[[], None]) -> None:
    reason = _in_child(lambda _: step(), {})
    if reason is not None:
        raise OSError(reason)
