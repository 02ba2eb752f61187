"""The CPU model server: OpenAI-compatible routes over openvino-genai, transformers or a script.

Contract: ``python -m rollout.servers`` is the program; these functions are what other rooms use of it. They are
imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollout.servers.backend import (
        folder_digest,
    )
    from rollout.servers.gguf import (
        read_gguf,
        write_gguf,
    )

_MODULES = {
    "folder_digest": "backend",
    "read_gguf": "gguf",
    "write_gguf": "gguf",
}
__all__ = [
    "folder_digest",
    "read_gguf",
    "write_gguf",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
