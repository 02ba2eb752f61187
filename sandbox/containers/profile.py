"""The system call filter of a container that runs kernels, in the format of container engines.

Contract: ``python -m sandbox.containers.profile`` prints ``seccomp.json``. It denies the container the same calls as
each kernel's own filter (:data:`sandbox.guest.isolation.seccomp.DENIED`), except those that create kernels of tier T2;
they need a user namespace's rights, and each kernel's own filter denies them again. Every other call that libseccomp
names is allowed; the rest fails with ENOSYS. The format is that of the OCI runtime specification, without Docker's
conditions, which the kubelet's runtimes ignore. Generating it needs libseccomp.
"""

from __future__ import annotations

import ctypes
import errno
import json
from collections.abc import Iterable
from typing import Any

from sandbox.guest.isolation.seccomp import ANY_NAMESPACE, DENIED, NEWEST

BUILDING = ("mount", "mount_setattr", "pivot_root", "sethostname", "setns", "umount2", "unshare")
"""Calls that create a kernel of tier T2."""
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
"""Socket families that the service and its libraries open; no virtual machine sockets, ciphers, Bluetooth …"""
MACHINES = (0xC000003E, 0xC00000B7)
"""x86_64 and aarch64, as libseccomp numbers them."""
ARCHITECTURES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")
"""Machines and their other ABIs: calls of an ABI that is not listed would kill the caller instead of failing."""
BY_ARGUMENT = ("clone", "clone3", "socket")
"""Calls that are allowed depending on their arguments."""


def build(names: Iterable[str]) -> dict[str, Any]:
    """The profile; ``names`` are the calls that exist."""
    denied = sorted(set(DENIED) - set(BUILDING))
    allowed = sorted(set(names) - set(denied) - set(BY_ARGUMENT))
    no_namespace = {"index": 0, "value": ANY_NAMESPACE, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    families = [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"} for family in FAMILIES.values()]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": list(ARCHITECTURES),
        "syscalls": [
            {"names": allowed, "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [no_namespace]},
            *({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [family]} for family in families),
            {"names": denied, "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
        ],
    }


def existing() -> set[str]:
    """The calls of both machines that libseccomp names, up to the newest in the kernels' own filter."""
    library = ctypes.CDLL("libseccomp.so.2")
    resolve = library.seccomp_syscall_resolve_num_arch
    resolve.restype = ctypes.c_char_p
    found = {resolve(ctypes.c_uint32(machine), number) for machine in MACHINES for number in range(NEWEST + 1)}
    return {name.decode() for name in found if name}


if __name__ == "__main__":
    print(json.dumps(build(existing()), indent=1))
