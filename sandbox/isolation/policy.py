"""What a kernel may reach outside its sandbox: listed hosts, extra folders, GPUs. Nothing by default.

Contract: a :class:`Policy` is checked for form when it is made. :func:`resolve_policy` checks it against this machine
and a tier; a policy that the tier cannot enforce is an error, never weakened.
"""

from __future__ import annotations

import re
import stat
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from sandbox.guest.isolation.namespaces import HOME, PROXY, SYSTEM
from sandbox.isolation.allowlist import Allowlist
from sandbox.result import SandboxError

DEVICES = Path("/dev")
DRIVER = ("nvidiactl", "nvidia-uvm")
DRIVER_EXTRAS = ("nvidia-uvm-tools",)
_OWN = (*SYSTEM, "/etc", "/dev", "/proc", HOME)


class Policy(BaseModel):
    """What the kernels of a pool may reach. All of them share the folders and devices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: tuple[str, ...] = ()
    """Hosts kernels may reach over HTTP, HTTPS and anything that uses a CONNECT tunnel: ``example.org`` (ports 80 and
    443), ``example.org:8443``, ``*.example.org`` (subdomains), ``10.0.0.7:5000``. A name that resolves to a private
    address is refused unless that address is listed, too. Tiers T2 and T3."""
    read_only: dict[str, str] = {}
    """Path inside the kernel to a folder of this machine. Kernels can connect to sockets in it. In T1 both paths must
    be equal."""
    read_write: dict[str, str] = {}
    """As ``read_only``, and writable. No limit bounds what kernels write there; do not trust its contents."""
    gpus: tuple[int, ...] = ()
    """N of ``/dev/nvidiaN``. Kernels see them as CUDA devices 0, 1, …."""

    @field_validator("network")
    @classmethod
    def _hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        Allowlist(entries)
        return entries

    @field_validator("gpus")
    @classmethod
    def _numbers(cls, gpus: tuple[int, ...]) -> tuple[int, ...]:
        if any(number < 0 for number in gpus) or len(set(gpus)) < len(gpus):
            raise ValueError(f"gpus: {gpus} must be distinct numbers >= 0")
        return gpus

    @model_validator(mode="after")
    def _folders(self) -> Policy:
        checked: list[PurePosixPath] = []
        for name, folders in (("read_only", self.read_only), ("read_write", self.read_write)):
            for inside, outside in folders.items():
                path = _checked_path(name, inside, outside)
                for other in checked:
                    if path.is_relative_to(other) or other.is_relative_to(path):
                        raise ValueError(f"{name}: {inside!r} and '{other}' are nested; choose separate folders")
                checked.append(path)
        return self

    def variables(self) -> dict[str, str]:
        """Environment variables of a kernel: visible GPUs and the proxy."""
        variables = {"CUDA_VISIBLE_DEVICES": ",".join(str(number) for number in range(len(self.gpus)))}
        if self.network:
            proxy = f"http://{PROXY[0]}:{PROXY[1]}"
            # loopback addresses are the kernel's own and bypass the proxy, unless the policy lists them as the host's
            direct = ",".join(sorted({"localhost", "127.0.0.1", "::1"} - Allowlist(self.network).addresses()))
            variables |= {"http_proxy": proxy, "https_proxy": proxy, "all_proxy": proxy, "no_proxy": direct}
            variables |= {name.upper(): value for name, value in variables.items() if name.endswith("_proxy")}
        return variables


def resolve_policy(policy: Policy, tier: str) -> dict[str, Any]:
    """The policy in the form the guest reads.

    Raises ValueError for missing folders, :class:`SandboxError` when the tier or the machine cannot provide it.
    """
    if tier == "T0" and policy != Policy():
        raise SandboxError("policy: tier T0 enforces nothing, so it accepts no policy; use T1, T2 or T3")
    if tier == "T1" and policy.network:
        raise SandboxError("network: in tier T1 no socket can be opened, so no host can be reached; use T2 or T3")
    for name, folders in (("read_only", policy.read_only), ("read_write", policy.read_write)):
        for inside, outside in folders.items():
            _check_folder(name, inside, outside, tier)
    return {
        "network": bool(policy.network),
        "read_only": policy.read_only,
        "read_write": policy.read_write,
        "devices": _device_nodes(policy.gpus),
        "variables": policy.variables(),
    }


def _checked_path(name: str, inside: str, outside: str) -> PurePosixPath:
    path = PurePosixPath(inside)
    if not inside.startswith("/") or ".." in path.parts or str(path) != inside:
        raise ValueError(f"{name}: {inside!r} is not a plain absolute path; write it like '/data/wiki'")
    if not Path(outside).is_absolute():
        raise ValueError(f"{name}: {outside!r}, the folder for {inside!r}, must be an absolute path")
    hidden = [own for own in _OWN if path.is_relative_to(own) or PurePosixPath(own).is_relative_to(path)]
    if hidden or inside == "/tmp":
        raise ValueError(f"{name}: {inside!r} would hide {(*hidden, '/tmp')[0]} of the kernel; use one like '/data'")
    return path


def _check_folder(name: str, inside: str, outside: str, tier: str) -> None:
    folder = Path(outside).resolve()
    if not folder.is_dir():
        raise ValueError(f"{name}: {outside!r}, the folder for {inside!r}, does not exist; create it first")
    if Path(tempfile.gettempdir()).resolve().is_relative_to(folder):
        raise ValueError(f"{name}: {outside!r} contains the sandbox's own folders; share a folder inside it")
    if tier == "T1" and inside != outside:
        raise SandboxError(
            f"{name}: tier T1 has no mount namespace, so a folder keeps its path; "
            f"use {outside!r} instead of {inside!r}, or tier T2 or T3"
        )


def _device_nodes(gpus: tuple[int, ...]) -> dict[str, str]:
    """Path inside the kernel to the device node of this machine."""
    if not gpus:
        return {}
    found = {node.name for node in DEVICES.glob("nvidia*") if stat.S_ISCHR(node.stat().st_mode)}
    needed = [*(f"nvidia{number}" for number in gpus), *DRIVER]
    missing = [name for name in needed if name not in found]
    if missing:
        there = ", ".join(sorted(name[6:] for name in found if re.fullmatch(r"nvidia\d+", name))) or "none"
        raise SandboxError(f"gpus: {DEVICES}/{missing[0]} does not exist; the GPUs of this machine: {there}")
    names = [*needed, *(name for name in DRIVER_EXTRAS if name in found)]
    return {f"/dev/{name}": f"{DEVICES}/{name}" for name in names}
