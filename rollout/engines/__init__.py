"""Engines complete chats: the scripted expert, and clients of OpenAI-compatible servers.

Contract: an :class:`EngineSpec` is a picklable description; a worker builds an :class:`Engine` from it. Engines are
found by name in :data:`rollout.registry.ENGINES`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollout.engines.base import (
        Completion,
        ContextFull,
        Engine,
        EngineError,
        EngineRefused,
        Scores,
        ScoringEngine,
    )
    from rollout.engines.config import (
        SECRET_FIELDS,
        EngineConfig,
    )
    from rollout.engines.judge import (
        Judge,
        JudgeSpec,
        current_judge,
        judge_usage,
        judging,
    )
    from rollout.engines.spec import (
        EngineSpec,
        ExpertSpec,
        ServerSpec,
        running_server,
    )

_MODULES = {
    "Completion": "base",
    "ContextFull": "base",
    "SECRET_FIELDS": "config",
    "Engine": "base",
    "EngineConfig": "config",
    "EngineError": "base",
    "EngineRefused": "base",
    "EngineSpec": "spec",
    "ExpertSpec": "spec",
    "Judge": "judge",
    "JudgeSpec": "judge",
    "Scores": "base",
    "ScoringEngine": "base",
    "ServerSpec": "spec",
    "current_judge": "judge",
    "judge_usage": "judge",
    "judging": "judge",
    "running_server": "spec",
}
__all__ = [
    "SECRET_FIELDS",
    "Completion",
    "ContextFull",
    "Engine",
    "EngineConfig",
    "EngineError",
    "EngineRefused",
    "EngineSpec",
    "ExpertSpec",
    "Judge",
    "JudgeSpec",
    "Scores",
    "ScoringEngine",
    "ServerSpec",
    "current_judge",
    "judge_usage",
    "judging",
    "running_server",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
