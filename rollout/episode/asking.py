"""Asks the engine for the next turn: a completion, or the most probable of an environment's choices.

Contract: an exception that is no :class:`EngineError` is a defect of the engine, which may come from another package,
and becomes one of the kind ``infra``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollout.bank.trajectory import Message, Sampling
from rollout.codeact.choices import Choices
from rollout.engines.base import Completion, Engine, EngineError, EngineRefused, ScoringEngine
from rollout.environment import Environment


async def next_turn(
    engine: Engine, environment: Environment, messages: Sequence[Message], sampling: Sampling, session: str
) -> Completion:
    """The next assistant turn after ``messages``.

    Args:
        environment: says by its attributes whether functions are offered (``native_tools``) or a text is chosen
            (``choices``).
        session: as in :meth:`rollout.engines.Engine.complete`.
    """
    choices: Choices | None = getattr(environment, "choices", None)
    tools: Sequence[Mapping[str, Any]] = getattr(environment, "native_tools", ())
    try:
        if choices is not None:
            return await _choose(engine, choices, session)
        return await _complete(engine, messages, sampling, session, tools)
    except EngineError:
        raise
    except Exception as fault:
        raise EngineError("infra", f"engine {engine.name}: {type(fault).__name__}: {fault}") from fault


async def _complete(
    engine: Engine, messages: Sequence[Message], sampling: Sampling, session: str, tools: Sequence[Mapping[str, Any]]
) -> Completion:
    if tools and not getattr(engine, "takes_tools", False):
        raise EngineRefused(
            f"protocol.form=tools: the engine {engine.name} has no native calls; use a chat server without a tokenizer "
            "folder, or a protocol of another form"
        )
    offered: dict[str, Any] = {"tools": tools} if tools else {}
    return await engine.complete(messages, sampling, session=session, **offered)


async def _choose(engine: Engine, choices: Choices, session: str) -> Completion:
    """The most probable of the choices as a turn; of equal ones the first."""
    if not isinstance(engine, ScoringEngine):
        raise EngineRefused(
            f"protocol.form=choice: the engine {engine.name} does not say how probable given texts are; use a model "
            "behind a server, or a protocol of another form"
        )
    scores = await engine.score(choices.prompt, choices.texts, session=session)
    return Completion(
        text=choices.texts[scores.best],
        token_ids=None,
        logprobs=None,
        prompt_tokens=scores.prompt_tokens,
        completion_tokens=0,
        finish_reason="stop",
        cached_tokens=scores.cached_tokens,
        choices=dict(zip(choices.texts, scores.logprobs, strict=True)),
    )
