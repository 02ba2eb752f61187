"""The memory that a kernel shares with its host, see :mod:`sandbox.guest.cell_text`."""

from __future__ import annotations

import fcntl
import os

from sandbox.guest.cell_text import region_bytes


def create_memory(keep: int) -> int:
    """A descriptor of memory for the output of one kernel, of fixed size."""
    fd = os.memfd_create("output", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, region_bytes(keep))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd
