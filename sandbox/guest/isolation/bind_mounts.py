"""Bind mounts in a kernel's root: system folders, and the folders and devices a policy adds.

Contract: :func:`bind_into` binds into the fork server's root, with everything mounted below, restricted by the given
attributes. Where root runs each kernel as a different user, :func:`map_owners` shows a policy's folders as owned by
that user (a mount with mapped ids): access follows the rights of the folder's owner, and new files belong to the owner.
Without privileges the kernel already runs as the owner. Costs nothing without such folders, else one fork per kernel,
about 6 ms.
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
    set_mount_attributes,
)

READ_ONLY = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV
READ_WRITE = ATTR_NOSUID | ATTR_NODEV
DEVICE = ATTR_RDONLY | ATTR_NOSUID  # the node is read-only, the device is not
_policy_folders: dict[str, bool] = {}
"""The policy's folders, and whether they are writable; forked kernels inherit it."""


def bind_into(root: Path, path: str, source: str, attributes: int = READ_ONLY) -> None:
    """Binds ``source`` of the host, with the mounts below it, at ``path`` under ``root``."""
    real = Path(source).resolve()
    target = root / path[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    if real.is_dir():
        target.mkdir()
    else:
        target.touch(exist_ok=False)
    mount(str(real), str(target), flags=MS_BIND | MS_REC)
    set_mount_attributes(str(target), attributes)


def bind_policy(root: Path, reach: dict[str, Any]) -> None:
    """Binds a policy's folders and devices. Raises OSError for a path that exists already."""
    for name, attributes in (("read_only", READ_ONLY), ("read_write", READ_WRITE)):
        for path, source in reach[name].items():
            try:
                bind_into(root, path, source, attributes)
            except OSError as error:
                raise OSError(f"{name}: {path!r} cannot be put there ({error}); use another path inside") from None
            _policy_folders[path] = name == "read_write"
    for path, source in reach["devices"].items():
        bind_into(root, path, source, DEVICE)


def map_owners(user: int) -> None:
    """Makes the policy's folders belong to ``user``; called in a kernel, as root and with its own ``/proc``.

    On a file system that cannot map ids, a read-only folder has the access rights of others, and a read-write one is an
    error.
    """
    namespaces: dict[tuple[int, int], int] = {}
    for path, writable in _policy_folders.items():
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
