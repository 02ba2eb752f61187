"""Which tokens of a rendered conversation belong to which turn.

Contract: an assistant turn begins where the server's prompt for it ends, other turns with their content; a turn ends
with the next control token behind its content. Cost: a few operations for each turn. The module decides no weights.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from codeact_train.data.document import Turn
from codeact_train.data.text_encoding import Tokens
from codeact_train.data.turn_spans import Rendering, Span


@dataclass(frozen=True)
class TurnTokens:
    """A turn's tokens are ``first`` to ``end``, and its header begins at ``header``.

    ``turn``: index of the turn. ``ended``: whether the last of them is a control token that ends the turn.
    """

    turn: int
    header: int
    first: int
    end: int
    ended: bool


def turn_tokens(rendering: Rendering, tokens: Tokens, turns: Sequence[Turn]) -> list[TurnTokens]:
    """The tokens of each turn that the text holds, in the order of the text."""
    spans = {index: span for index, span in enumerate(rendering.spans) if span}
    controls = tokens.controls
    order = sorted(spans, key=lambda index: spans[index].end)
    firsts = [tokens.from_character(_first_character(spans[index], turns[index])) for index in order]
    limits = [*firsts[1:], len(tokens)]
    spelled = [int(tokens.starts[control]) for control in controls]
    placed: list[TurnTokens] = []
    before = 0  # the end of the turn before
    for index, first, limit in zip(order, firsts, limits, strict=True):
        span = spans[index]
        content = tokens.from_character(span.start)
        next_control = bisect_left(spelled, span.end)
        ended = next_control < len(controls) and controls[next_control] < limit
        end = controls[next_control] + 1 if ended else limit
        header = _header(controls, before, content) if placed else _last_before(controls, content)
        placed.append(TurnTokens(index, header, max(first, before), max(end, before), ended))
        before = placed[-1].end
    return placed


def _first_character(span: Span, turn: Turn) -> int:
    return span.start if span.prompt is None or turn.role != "assistant" else span.prompt


def _header(controls: Sequence[int], before: int, content: int) -> int:
    """The first control token behind the turn before, or the end of that turn."""
    following = bisect_left(controls, before)
    return controls[following] if following < len(controls) and controls[following] < content else before


def _last_before(controls: Sequence[int], content: int) -> int:
    """The last control token before the first turn's content; what stands before belongs to no turn."""
    behind = bisect_left(controls, content)
    return controls[behind - 1] if behind else 0
