"""The system call filter of a container that makes kernels, in the form container engines read.

Contract: ``python -m sandbox.containers.profile`` prints ``seccomp.json``. It is the kernels' own filter one level up:
what no kernel may call (:data:`sandbox.guest.isolation.seccomp.DENIED`) the container may not call either, but for the
calls that build kernels of tier T2, which need a user namespace's rights and which each kernel's own filter takes away
again. Every other call that libseccomp has a name for is allowed; the rest fails with ENOSYS. The form is the plain one
of the OCI runtime specification, without Docker's conditions, which the kubelet's runtimes ignore. Making it takes
libseccomp.
"""

from __future__ import annotations

import ctypes
import errno
import json
from collections.abc import Iterable
from typing import Any

from sandbox.guest.isolation.seccomp import ANY_NAMESPACE, DENIED, NEWEST

BUILDING = ("mount", "mount_setattr", "pivot_root", "sethostname", "setns", "umount2", "unshare")
"""What makes a kernel of tier T2."""
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
"""Sockets the service and its libraries open; not among them: raw access to virtual machines, ciphers, Bluetooth …"""
MACHINES = (0xC000003E, 0xC00000B7)
"""x86_64 and aarch64, as libseccomp numbers them."""
ARCHITECTURES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")
"""Machines and their other ways of calling: those left out would kill the caller instead of failing."""
JUDGED = ("clone", "clone3", "socket")
"""Allowed or not by their arguments."""


def build(names: Iterable[str]) -> dict[str, Any]:
    """The profile, where ``names`` are the calls that exist."""
    denied = sorted(set(DENIED) - set(BUILDING))
    allowed = sorted(set(names) - set(denied) - set(JUDGED))
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
    """The calls of both machines that libseccomp has a name for, up to the newest our own filter knows."""
    library = ctypes.CDLL("libseccomp.so.2")
    resolve = library.seccomp_syscall_resolve_num_arch
    resolve.restype = ctypes.c_char_p
    found = {resolve(ctypes.c_uint32(machine), number) for machine in MACHINES for number in range(NEWEST + 1)}
    return {name.decode() for name in found if name}


if __name__ == "__main__":
    print(json.dumps(build(existing()), indent=1))
