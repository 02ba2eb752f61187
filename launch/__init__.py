"""What a user starts: the command ``codeact``.

Public: :class:`LoopConfig` with :func:`load` and :func:`validate`, the configuration of a run; :func:`run_loop`, the
whole loop. The stages are :mod:`launch.stages`, the verbs :mod:`launch.cli`. Names are imported on first use, so that
the command's help needs neither torch nor Ray.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.config import LoopConfig, load, validate
    from launch.loop import run_loop

_MODULES = {
    "LoopConfig": "launch.config",
    "load": "launch.config",
    "run_loop": "launch.loop",
    "validate": "launch.config",
}
__all__ = ["LoopConfig", "load", "run_loop", "validate"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'launch' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
