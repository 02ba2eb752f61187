"""The bodies of requests and answers; ``/openapi.json`` is made from them."""

from __future__ import annotations

import base64
import binascii

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sandbox.isolation.probe import Tier, enforced
from sandbox.service.leases import Lease
from sandbox.service.tenants import Tenant
from sandbox.service.tool_calls import ToolForm

CODE_CHARS = 1 << 20


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CreateForm(_Form):
    """A new kernel."""

    files: dict[str, str] = {}
    """Files of the workspace: relative path to content in base64. They are there again after a restart."""
    tools: list[ToolForm] = Field([], max_length=200)
    """Functions cells can call; the client answers their calls, see the event `tool_call`."""
    lease_s: float | None = Field(None, gt=0)
    """Seconds the kernel lives without a call that names it; when not given 600, or the most you may ask for."""

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


class KernelAnswer(_Form):
    """A kernel that is lent."""

    id: str
    tier: str
    """Isolation: T3, T2, T1 or T0."""
    lease_s: float
    """Seconds it lives without a call."""
    left_s: float
    """Seconds until it ends if nobody calls."""

    @classmethod
    def of(cls, lease: Lease) -> KernelAnswer:
        """What the client gets to know of a lease."""
        left_s = round(lease.left_s(), 3)
        return cls(id=lease.id, tier=lease.kernel.tier, lease_s=lease.lease_s, left_s=left_s)


class OfferAnswer(_Form):
    """What your kernels are, and how many you may have."""

    tier: str
    """Isolation: T3, T2, T1 or T0."""
    enforced: list[str]
    """Properties that hold, of files, network, processes, memory, disk and cpu."""
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
    def of(cls, tenant: Tenant, tier: Tier) -> OfferAnswer:
        """What a tenant gets in a tier."""
        limits = {name: getattr(tenant, name) for name in cls.model_fields if name in Tenant.model_fields}
        return cls(tier=tier, enforced=enforced(tier), memory_mib=tenant.limits.memory_mib, **limits)


class ExecuteForm(_Form):
    """A cell."""

    code: str = Field(max_length=CODE_CHARS)
    timeout_s: float | None = Field(None, gt=0)
    """Seconds it may take; the tenant's `cell_timeout_s` when not given."""
    stream: bool = False
    """Answer with a JSON object a line while it runs: `stream`, `display`, `value`, `tool_call`, and last `result`."""


class ForkForm(_Form):
    """A branch of a kernel."""

    reseed: bool = False
    """Give its random generators new seeds; else they go on as in the original."""


class ToolErrorForm(_Form):
    """What a tool raised."""

    type: str = Field(max_length=200)
    message: str = Field(max_length=100_000)


class ToolResultForm(_Form):
    """The client's answer to a `tool_call`: a result or an error."""

    result: object = None
    error: ToolErrorForm | None = None


class InterruptAnswer(_Form):
    """Whether a cell was running."""

    interrupted: bool


class LegacyForm(BaseModel):
    """What clients of the first CodeAct service send."""

    model_config = ConfigDict(frozen=True)

    convid: str = Field(min_length=1, max_length=200)
    code: str = Field(max_length=CODE_CHARS)


class LegacyAnswer(_Form):
    """What they get."""

    result: str
    new_kernel_created: bool
