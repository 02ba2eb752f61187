"""Stateful Python kernels for code that nobody has read.

Contract: a :class:`KernelPool` hands out :class:`Kernel` handles; ``await kernel.run(code)`` gives a
:class:`CellResult` whatever the code does and raises :class:`SandboxError` only for faults of the sandbox itself. Names
are imported on first use, because the processes inside the sandbox import this package too and must stay small.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.isolation.policy import Policy
    from sandbox.isolation.probe import Report, probe
    from sandbox.kernel import Kernel
    from sandbox.limits import Limits
    from sandbox.pool import KernelPool
    from sandbox.replay import restore
    from sandbox.result import CellResult, SandboxError, Status
    from sandbox.service.client import RemoteKernel, RemotePool
    from sandbox.state.session_log import Log
    from sandbox.tools.describe import document_tools
    from sandbox.tools.invoke import tool_schemas

__version__ = "0.1.0"
"""Version of the whole project; it is here because the guest reads it too, where a look into metadata would cost."""

_HOMES = {
    "CellResult": "sandbox.result",
    "Kernel": "sandbox.kernel",
    "KernelPool": "sandbox.pool",
    "Limits": "sandbox.limits",
    "Log": "sandbox.state.session_log",
    "Policy": "sandbox.isolation.policy",
    "RemoteKernel": "sandbox.service.client",
    "RemotePool": "sandbox.service.client",
    "SandboxError": "sandbox.result",
    "Status": "sandbox.result",
    "Report": "sandbox.isolation.probe",
    "document_tools": "sandbox.tools.describe",
    "probe": "sandbox.isolation.probe",
    "restore": "sandbox.replay",
    "tool_schemas": "sandbox.tools.invoke",
}
__all__ = [
    "CellResult",
    "Kernel",
    "KernelPool",
    "Limits",
    "Log",
    "Policy",
    "RemoteKernel",
    "RemotePool",
    "Report",
    "SandboxError",
    "Status",
    "document_tools",
    "probe",
    "restore",
    "tool_schemas",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
