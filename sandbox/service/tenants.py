"""Tenants of the service: tokens and limits.

Contract: a YAML or JSON file maps names to tenants; :func:`load_tenants` reads it or raises ValueError with one
sentence per fault. A token lookup takes constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sandbox.isolation.policy import Policy
from sandbox.limits import Limits
from sandbox.validation import format_errors

SHORTEST_TOKEN = 16
TOKEN_CHARACTERS = "no client can send blanks or characters beyond ASCII in a header; use letters, digits and -._~+/="


class Tenant(BaseModel):
    """One user of the service, or one team."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    token: str = Field(min_length=SHORTEST_TOKEN, repr=False)
    """Sent by its requests as ``Authorization: Bearer …``."""
    max_kernels: int = Field(16, ge=1)
    """Kernels alive at once, forks included."""
    max_cells: int = Field(16, ge=1)
    """Cells running or waiting at once."""
    max_cell_timeout_s: float = Field(300.0, gt=0)
    """The longest time a request may ask for one cell; ``limits.cell_timeout_s`` is the default."""
    max_lease_s: float = Field(3600.0, gt=0)
    """The longest lease a request may ask for: the time a kernel lives without a call."""
    max_file_mib: int = Field(16, ge=1)
    """Size of one file in either direction."""
    limits: Limits = Limits()
    """Budgets of each kernel and cell, see :class:`sandbox.Limits`."""
    policy: Policy = Policy()
    """Hosts, folders and GPUs its kernels may reach, see :class:`sandbox.isolation.policy.Policy`."""
    checkpoint: bool = False
    """Keep a kernel's state before each cell: a cell that kills its process then loses only its own effects."""
    operator: bool = False
    """May read ``/metrics``, which shows every tenant."""
    open_execute: bool = False
    """Requests to ``POST /execute`` without a token are this tenant's: for old clients, on a private network."""

    @field_validator("token")
    @classmethod
    def _sendable(cls, token: str) -> str:
        if not fits_in_header(token):
            raise ValueError(TOKEN_CHARACTERS)
        return token

    def kernel_settings(self) -> str:
        """A key that is equal for tenants with the same kernel settings."""
        return self.model_dump_json(include={"limits", "policy", "checkpoint"})


class Tenants:
    """All tenants, found by token."""

    def __init__(self, tenants: Iterable[Tenant]) -> None:
        """Raises ValueError when two share a name or a token, or more than one takes requests without a token."""
        self.all = tuple(tenants)
        if not self.all:
            raise ValueError("tenants: there is none; name at least one with a token")
        for what in ("name", "token"):
            if len({getattr(tenant, what) for tenant in self.all}) < len(self.all):
                raise ValueError(f"tenants: two have the same {what}; give each its own")
        open_ones = [tenant for tenant in self.all if tenant.open_execute]
        if len(open_ones) > 1:
            raise ValueError("open_execute: more than one tenant takes requests without a token; choose one")
        self.without_token = open_ones[0] if open_ones else None
        self._digests = [(_digest(tenant.token), tenant) for tenant in self.all]

    def find(self, token: str) -> Tenant | None:
        """The tenant of a token; takes the same time for a wrong one."""
        given, found = _digest(token), None
        for digest, tenant in self._digests:
            if hmac.compare_digest(digest, given):
                found = tenant
        return found


def fits_in_header(token: str) -> bool:
    """Whether an HTTP header can carry the token as one word."""
    return all("!" <= character <= "~" for character in token)


class _Loader(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys, because one of the values would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load_tenants(file: Path) -> Tenants:
    """Reads ``{tenants: {name: {token, …}}}``. Raises ValueError."""
    try:
        read = yaml.load(file.read_text(), _Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{file}: cannot be read: {line}{error.problem}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ValueError(f"{file}: cannot be read: {reason}") from None
    if not isinstance(read, dict) or set(read) != {"tenants"} or not isinstance(read["tenants"], dict):
        raise ValueError(f"{file}: must have one key, tenants, with a mapping of names to tenants")
    return Tenants(_tenant(file, str(name), values) for name, values in read["tenants"].items())


def _tenant(file: Path, name: str, values: Any) -> Tenant:
    if not isinstance(values, dict):
        raise ValueError(f"{file}: tenants.{name}: must be a mapping with at least a token")
    try:
        return Tenant(name=name, **values)
    except ValidationError as error:
        raise ValueError(format_errors(f"{file}: tenants.{name}.", error, model=Tenant, secret=("token",))) from None
    except TypeError:
        raise ValueError(f"{file}: tenants.{name}.name: the name is the key above; remove it") from None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
