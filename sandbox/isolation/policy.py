"""What a kernel may reach beyond its own sandbox: listed hosts, extra folders, graphics processors. Nothing by default.

Contract: a :class:`Policy` says what is wanted and is checked for form when made; :func:`settle` holds it against this
machine and a tier, and raises rather than give less: a policy that a tier cannot enforce is an error.
"""

from __future__ import annotations

import re
import stat
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from sandbox.guest.isolation.namespaces import HOME, PROXY, SYSTEM
from sandbox.isolation.allowlist import Hosts
from sandbox.result import SandboxError

DEVICES = Path("/dev")
DRIVER = ("nvidiactl", "nvidia-uvm")
DRIVER_EXTRAS = ("nvidia-uvm-tools",)
_OWN = (*SYSTEM, "/etc", "/dev", "/proc", HOME)


class Policy(BaseModel):
    """What kernels of a pool may reach. Folders and devices belong to all of them alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: tuple[str, ...] = ()
    """Hosts kernels may reach over HTTP, HTTPS and what else goes through a CONNECT tunnel: ``example.org`` (ports 80
    and 443), ``example.org:8443``, ``*.example.org`` (subdomains), ``10.0.0.7:5000``. Names never lead to addresses
    that are not public, unless the address is listed, too. Tiers T2 and T3."""
    read_only: dict[str, str] = {}
    """Path inside to a folder of this machine. Sockets in it can be connected to. In T1 both paths must be equal."""
    read_write: dict[str, str] = {}
    """As ``read_only``, with writing. No limit holds for what is written there, and nothing in it is to be trusted."""
    gpus: tuple[int, ...] = ()
    """N of ``/dev/nvidiaN``; kernels see them as CUDA devices 0, 1, …."""

    @field_validator("network")
    @classmethod
    def _hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        Hosts(entries)
        return entries

    @field_validator("gpus")
    @classmethod
    def _numbers(cls, gpus: tuple[int, ...]) -> tuple[int, ...]:
        if any(number < 0 for number in gpus) or len(set(gpus)) < len(gpus):
            raise ValueError(f"gpus: {gpus} must be different numbers from 0 on")
        return gpus

    @model_validator(mode="after")
    def _folders(self) -> Policy:
        places: list[PurePosixPath] = []
        for name, folders in (("read_only", self.read_only), ("read_write", self.read_write)):
            for inside, outside in folders.items():
                place = _checked(name, inside, outside)
                for other in places:
                    if place.is_relative_to(other) or other.is_relative_to(place):
                        raise ValueError(f"{name}: {inside!r} and '{other}' lie in one another; keep them apart")
                places.append(place)
        return self

    def variables(self) -> dict[str, str]:
        """What the environment of a kernel says about it."""
        told = {"CUDA_VISIBLE_DEVICES": ",".join(str(number) for number in range(len(self.gpus)))}
        if self.network:
            proxy = f"http://{PROXY[0]}:{PROXY[1]}"
            # the kernel's own loopback is reached directly, but for an address the policy says is the host's
            direct = ",".join(sorted({"localhost", "127.0.0.1", "::1"} - Hosts(self.network).addresses()))
            told |= {"http_proxy": proxy, "https_proxy": proxy, "all_proxy": proxy, "no_proxy": direct}
            told |= {name.upper(): value for name, value in told.items() if name.endswith("_proxy")}
        return told


def settle(policy: Policy, tier: str) -> dict[str, Any]:
    """The policy as the processes inside take it.

    Raises ValueError for folders that are not there, :class:`SandboxError` for what the tier or the machine lacks.
    """
    if tier == "T0" and policy != Policy():
        raise SandboxError("policy: tier T0 enforces nothing, so it takes no policy; use T1, T2 or T3")
    if tier == "T1" and policy.network:
        raise SandboxError("network: in tier T1 no socket can be opened, so no host can be reached; it takes T2 or T3")
    for name, folders in (("read_only", policy.read_only), ("read_write", policy.read_write)):
        for inside, outside in folders.items():
            _check_here(name, inside, outside, tier)
    return {
        "network": bool(policy.network),
        "read_only": policy.read_only,
        "read_write": policy.read_write,
        "devices": _device_nodes(policy.gpus),
        "variables": policy.variables(),
    }


def _checked(name: str, inside: str, outside: str) -> PurePosixPath:
    place = PurePosixPath(inside)
    if not inside.startswith("/") or ".." in place.parts or str(place) != inside:
        raise ValueError(f"{name}: {inside!r} is not a plain absolute path; write it like '/data/wiki'")
    if not Path(outside).is_absolute():
        raise ValueError(f"{name}: {outside!r}, the folder for {inside!r}, must be an absolute path")
    hidden = [own for own in _OWN if place.is_relative_to(own) or PurePosixPath(own).is_relative_to(place)]
    if hidden or inside == "/tmp":
        raise ValueError(f"{name}: {inside!r} would hide {(*hidden, '/tmp')[0]} of the kernel; use one like '/data'")
    return place


def _check_here(name: str, inside: str, outside: str, tier: str) -> None:
    folder = Path(outside).resolve()
    if not folder.is_dir():
        raise ValueError(f"{name}: {outside!r}, the folder for {inside!r}, is not there; make it first")
    if Path(tempfile.gettempdir()).resolve().is_relative_to(folder):
        raise ValueError(f"{name}: {outside!r} holds the folders of the sandbox itself; share a folder inside it")
    if tier == "T1" and inside != outside:
        raise SandboxError(
            f"{name}: without a mount namespace (tier T1) a folder is seen where it lies; "
            f"call {inside!r} {outside!r} inside, too, or use T2 or T3"
        )


def _device_nodes(gpus: tuple[int, ...]) -> dict[str, str]:
    """Path inside to the node here."""
    if not gpus:
        return {}
    found = {node.name for node in DEVICES.glob("nvidia*") if stat.S_ISCHR(node.stat().st_mode)}
    needed = [*(f"nvidia{number}" for number in gpus), *DRIVER]
    missing = [name for name in needed if name not in found]
    if missing:
        there = ", ".join(sorted(name[6:] for name in found if re.fullmatch(r"nvidia\d+", name))) or "none"
        raise SandboxError(f"gpus: {DEVICES}/{missing[0]} is not there; the GPUs of this machine: {there}")
    names = [*needed, *(name for name in DRIVER_EXTRAS if name in found)]
    return {f"/dev/{name}": f"{DEVICES}/{name}" for name in names}
