"""What of the host stands in a kernel's root: system folders, and the folders and devices a policy adds.

Contract: :func:`show` binds into the fork server's root, with everything mounted below and no more rights than told.
Where root gives each kernel a user of its own, :func:`make_own` shows a policy's folders as belonging to that user (a
mount with mapped ids), so that reading and writing go by the rights of the folder's owner and new files become the
owner's; without privileges the kernel's user is the owner's already. Costs nothing without such folders, else one
fork for each kernel, about 6 ms.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sandbox.guest.isolation.linux import (
    ATTR_NODEV,
    ATTR_NOSUID,
    ATTR_RDONLY,
    MS_BIND,
    MS_REC,
    map_mount,
    mapping_namespace,
    mount,
    protect,
)

READ_ONLY = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV
READ_WRITE = ATTR_NOSUID | ATTR_NODEV
DEVICE = ATTR_RDONLY | ATTR_NOSUID  # read-only means the node, not what it stands for
_folders: dict[str, bool] = {}
"""The policy's folders, and whether they may be written; forked kernels inherit it."""


def show(root: Path, path: str, source: str, attributes: int = READ_ONLY) -> None:
    """Binds ``source`` of the host, with what is mounted below it, at ``path`` under ``root``."""
    real = Path(source).resolve()
    target = root / path[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    if real.is_dir():
        target.mkdir()
    else:
        target.touch(exist_ok=False)
    mount(str(real), str(target), flags=MS_BIND | MS_REC)
    protect(str(target), attributes)


def show_policy(root: Path, reach: dict[str, Any]) -> None:
    """Binds a policy's folders and devices. Raises OSError for a place that is taken."""
    for name, attributes in (("read_only", READ_ONLY), ("read_write", READ_WRITE)):
        for path, source in reach[name].items():
            try:
                show(root, path, source, attributes)
            except OSError as error:
                raise OSError(f"{name}: {path!r} cannot be put there ({error}); use another path inside") from None
            _folders[path] = name == "read_write"
    for path, source in reach["devices"].items():
        show(root, path, source, DEVICE)


def make_own(user: int) -> None:
    """In a kernel, as root and with a ``/proc`` of its own: the policy's folders belong to ``user``.

    A file system that cannot map ids leaves a read-only folder to the rights of others, and is an error for a
    read-write one.
    """
    namespaces: dict[tuple[int, int], int] = {}
    for path, writable in _folders.items():
        status = Path(path).stat()
        owner = (status.st_uid, status.st_gid)
        if owner not in namespaces:
            namespaces[owner] = mapping_namespace(owner, user)
        try:
            map_mount(path, namespaces[owner])
        except OSError as error:
            if writable:
                raise OSError(f"read_write: the file system of {path!r} cannot map users ({error.strerror})") from None
    for fd in namespaces.values():
        os.close(fd)
