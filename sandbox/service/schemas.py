"""Schemas of request and response bodies; ``/openapi.json`` is generated from them."""

from __future__ import annotations

import base64
import binascii

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sandbox.isolation.probe import Tier, enforced_properties
from sandbox.kernel import SEEDS
from sandbox.service.leases import Lease
from sandbox.service.tenants import Tenant
from sandbox.service.tool_calls import ToolSpec

CODE_CHARS = 1 << 20


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CreateKernelRequest(_Schema):
    """A new kernel."""

    files: dict[str, str] = {}
    """Files of the workspace: relative path to content in base64. They are there again after a restart."""
    tools: list[ToolSpec] = Field([], max_length=200)
    """Functions cells can call; the client answers their calls, see the event `tool_call`."""
    seed: int | None = Field(None, ge=0, lt=SEEDS)
    """For its random generators; they have it again after a restart."""
    lease_s: float | None = Field(None, gt=0)
    """Seconds the kernel lives without a call that names it; by default 600, or your `max_lease_s` if less."""

    @field_validator("files")
    @classmethod
    def _decodable(cls, files: dict[str, str]) -> dict[str, str]:
        for path, content in files.items():
            try:
                base64.b64decode(content, validate=True)
            except binascii.Error:
                raise ValueError(f"the content of {path!r} is no base64") from None
        return files

    def contents(self) -> dict[str, bytes]:
        """The files as bytes."""
        return {path: base64.b64decode(content) for path, content in self.files.items()}


class KernelResponse(_Schema):
    """A kernel you have."""

    id: str
    tier: str
    """Isolation: T3, T2, T1 or T0."""
    lease_s: float
    """Seconds it lives without a call."""
    left_s: float
    """Seconds until it ends without a further call."""

    @classmethod
    def from_lease(cls, lease: Lease) -> KernelResponse:
        """The client's view of a lease."""
        left_s = round(lease.left_s(), 3)
        return cls(id=lease.id, tier=lease.kernel.tier, lease_s=lease.lease_s, left_s=left_s)


class OfferResponse(_Schema):
    """The isolation and limits of your kernels, and how many you may have."""

    tier: Tier
    """Isolation: T3, T2, T1 or T0."""
    enforced: list[str]
    """Properties that are enforced, of files, network, processes, memory, disk and cpu."""
    checkpoint: bool
    """Whether a cell that kills its process is rolled back."""
    memory_mib: int
    """Memory of one kernel."""
    max_kernels: int
    """Kernels alive at once."""
    max_cells: int
    """Cells running or waiting at once."""
    max_cell_timeout_s: float
    """The longest time a cell may ask for."""
    max_lease_s: float
    """The longest lease a kernel may ask for."""

    @classmethod
    def from_tenant(cls, tenant: Tenant, tier: Tier) -> OfferResponse:
        """The offer to a tenant whose kernels have this tier."""
        limits = {name: getattr(tenant, name) for name in cls.model_fields if name in Tenant.model_fields}
        return cls(tier=tier, enforced=enforced_properties(tier), memory_mib=tenant.limits.memory_mib, **limits)


class ExecuteRequest(_Schema):
    """A cell."""

    code: str = Field(max_length=CODE_CHARS)
    timeout_s: float | None = Field(None, gt=0)
    """Seconds it may take; by default the tenant's `cell_timeout_s`."""
    stream: bool = False
    """Answer with a JSON object a line while it runs: `stream`, `display`, `value`, `tool_call`, and last `result`."""


class ForkRequest(_Schema):
    """A fork of a kernel."""

    reseed: bool = False
    """Give its random generators new seeds; otherwise they continue as in the original."""


class SeedRequest(_Schema):
    """A seed of the random generators."""

    seed: int = Field(ge=0, lt=SEEDS)
    """For `random` and, where they are imported, numpy's and torch's global generators."""


class ToolError(_Schema):
    """The exception a tool raised."""

    type: str = Field(max_length=200)
    message: str = Field(max_length=100_000)


class ToolResultRequest(_Schema):
    """The client's answer to a `tool_call`: a result or an error."""

    result: object = None
    error: ToolError | None = None


class InterruptResponse(_Schema):
    """Whether a cell was running."""

    interrupted: bool


class LegacyRequest(BaseModel):
    """The request of clients of the first CodeAct service."""

    model_config = ConfigDict(frozen=True)

    convid: str = Field(min_length=1, max_length=200)
    code: str = Field(max_length=CODE_CHARS)


class LegacyResponse(_Schema):
    """The answer to them."""

    result: str
    new_kernel_created: bool
