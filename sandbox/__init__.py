"""Stateful Python kernels for untrusted code.

Contract: a :class:`KernelPool` hands out :class:`Kernel` handles. ``await kernel.run(code)`` returns a
:class:`CellResult` even if the code kills its process, and raises :class:`SandboxError` only when the sandbox fails.
Names are imported on first use, because the processes inside the sandbox import this package, too, and must stay small.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sandbox.guest import __version__ as __version__

if TYPE_CHECKING:
    from sandbox.guest.terminal import visible_text as visible_text
    from sandbox.isolation.owned_folders import temporary_folder as temporary_folder
    from sandbox.isolation.policy import Policy as Policy
    from sandbox.isolation.probe import ProbeReport as ProbeReport
    from sandbox.isolation.probe import Tier as Tier
    from sandbox.isolation.probe import choose_tier as choose_tier
    from sandbox.isolation.probe import probe as probe
    from sandbox.kernel import Kernel as Kernel
    from sandbox.limits import Limits as Limits
    from sandbox.pool import KernelPool as KernelPool
    from sandbox.pool import PoolStats as PoolStats
    from sandbox.replay import restore as restore
    from sandbox.result import CellResult as CellResult
    from sandbox.result import LateOutput as LateOutput
    from sandbox.result import SandboxError as SandboxError
    from sandbox.result import Status as Status
    from sandbox.service.client import RemotePool as RemotePool
    from sandbox.service.remote_kernel import RemoteKernel as RemoteKernel
    from sandbox.state.session_log import SessionLog as SessionLog
    from sandbox.tools.describe import document_tools as document_tools
    from sandbox.tools.invoke import ToolInvoker as ToolInvoker
    from sandbox.tools.invoke import tool_schemas as tool_schemas

_MODULES = {
    "CellResult": "result",
    "Kernel": "kernel",
    "KernelPool": "pool",
    "LateOutput": "result",
    "Limits": "limits",
    "Policy": "isolation.policy",
    "PoolStats": "pool",
    "ProbeReport": "isolation.probe",
    "RemoteKernel": "service.remote_kernel",
    "RemotePool": "service.client",
    "SandboxError": "result",
    "SessionLog": "state.session_log",
    "Status": "result",
    "Tier": "isolation.probe",
    "ToolInvoker": "tools.invoke",
    "choose_tier": "isolation.probe",
    "document_tools": "tools.describe",
    "probe": "isolation.probe",
    "restore": "replay",
    "temporary_folder": "isolation.owned_folders",
    "tool_schemas": "tools.invoke",
    "visible_text": "guest.terminal",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
    return getattr(import_module(f"sandbox.{_MODULES[name]}"), name)
