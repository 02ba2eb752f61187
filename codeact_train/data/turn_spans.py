"""Where each turn stands in a rendered conversation, and where a server's prompt for it ends.

Contract: :meth:`SpanFinder.find` returns the conversation's text as a server renders it, with the characters of each
turn's content and the length of the prompt that precedes each assistant turn. Most templates copy contents, at most
without the blanks at their ends: the template is then rendered once for each sequence of roles with a marker in place
of each content, and the result is kept. Templates that look into contents (Qwen3 leaves out the thoughts of earlier
turns) are rendered for each record, with a marker behind each content and with each prompt. Cost: one rendering in the
first case, one more than twice the number of assistant turns in the second. The module does not tokenise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, takewhile

from codeact_train.data.document import Turn
from codeact_train.data.rendering import Renderer

_MARK = "\ue000{}\ue001"  # private-use characters: no template or tokenizer gives them a meaning
_MARK_PATTERN = re.compile("\ue000(\\d+)\ue001")
_PROBED = 24
"""Prompts of this many first and last assistant turns are rendered for a sequence of roles."""


@dataclass(frozen=True)
class Span:
    """A turn in the rendered text.

    ``start``, ``end``: characters of its content. ``prompt``: length of the server's prompt for this turn, which is the
    beginning of the text, or ``None`` when the prompt differs from the text. ``whole``: whether the content is
    complete, up to blanks at its ends.
    """

    start: int
    end: int
    prompt: int | None = None
    whole: bool = True


@dataclass(frozen=True)
class Rendering:
    """A conversation's text and the span of each turn, in the order of the turns.

    A turn without text has no span where the template leaves it out.
    """

    text: str
    spans: tuple[Span | None, ...]


@dataclass(frozen=True)
class _Layout:
    """What the template writes for a sequence of roles.

    ``texts``: what stands before the first content, between two contents and behind the last. ``order``: the turns in
    the order of the text. ``leads``: for each assistant turn, the number of characters that the template writes between
    the end of the prompt and the content; absent when the prompt is not the beginning of the text.
    """

    texts: tuple[str, ...]
    order: tuple[int, ...]
    leads: dict[int, int]


class SpanFinder:
    """Finds turns in conversations that a renderer renders."""

    def __init__(self, renderer: Renderer):
        self._renderer = renderer
        self._layout = lru_cache(maxsize=256)(self._make_layout)

    def find(self, turns: Sequence[Turn]) -> Rendering:
        """The rendered conversation. Raises ``ValueError`` when the template refuses the turns, leaves one out, repeats
        one, or rewrites text so that a turn cannot be found."""
        text = self._renderer.conversation(turns)
        layout = self._layout(tuple(turn.role for turn in turns))
        if layout and (spans := _fit(layout, turns, text)):
            return Rendering(text, spans)
        return Rendering(text, self._search(turns, text))

    def _make_layout(self, roles: tuple[str, ...]) -> _Layout | None:
        marked = [Turn(role, _MARK.format(index)) for index, role in enumerate(roles)]
        try:
            text = self._renderer.conversation(marked)
        except ValueError:  # a template that wants certain contents
            return None
        texts, order = _split(text)
        if sorted(order) != list(range(len(roles))):
            return None
        before = dict(zip(order, texts[:-1], strict=True))
        leads: dict[int, int] = {}
        assistants = [index for index, role in enumerate(roles) if role == "assistant"]
        known: dict[str, set[int | None]] = {}  # by the template's text before the turn
        probed = {*assistants[:_PROBED], *assistants[-_PROBED:]}
        for index in sorted(probed):
            lead = self._lead(marked, index, text)
            known.setdefault(before[index], set()).add(lead)
            if lead is not None:
                leads[index] = lead
        for index in assistants:
            same = known.get(before[index], set())
            if index not in probed and len(same) == 1 and (lead := next(iter(same))) is not None:
                leads[index] = lead
        return _Layout(texts, order, leads)

    def _lead(self, marked: list[Turn], index: int, text: str) -> int | None:
        if index == 0:  # nothing precedes the first turn that a server could be sent
            return 0
        try:
            prompt = self._renderer.prompt(marked[:index])
        except ValueError:
            return None
        between = text[len(prompt) : text.index(marked[index].content)]
        return len(between) if text.startswith(prompt) and not _MARK_PATTERN.search(between) else None

    def _search(self, turns: Sequence[Turn], text: str) -> tuple[Span | None, ...]:
        """Spans from markers behind the contents.

        A template may leave out a turn whose content is empty; a marker would bring it back.
        """
        every = list(range(len(turns)))
        written = [index for index in every if turns[index].content or turns[index].role == "assistant"]
        for marked in (every, written):
            texts, order = _split(self._renderer.conversation(_marked(turns, marked)))
            for index in marked:
                if times := order.count(index) - 1:
                    fault = "leaves out" if times < 0 else "repeats"
                    raise ValueError(f"the chat template {fault} turn {index}, which is a {turns[index].role} turn")
            if ends := _ends(texts, text):
                return self._spans(turns, text, order, ends)
        raise ValueError("the chat template rewrites a turn's text, so its tokens cannot be identified")

    def _spans(
        self, turns: Sequence[Turn], text: str, order: tuple[int, ...], ends: list[int]
    ) -> tuple[Span | None, ...]:
        spans: dict[int, Span] = {}
        for index, (before, end) in zip(order, pairwise([0, *ends]), strict=True):
            span = _before(end, turns[index].content, text[before:end])
            if turns[index].role == "assistant":
                span = replace(span, prompt=self._prompt_length(turns, index, text) if index else span.start)
            spans[index] = span
        return tuple(spans.get(index) for index in range(len(turns)))

    def _prompt_length(self, turns: Sequence[Turn], index: int, text: str) -> int | None:
        try:
            prompt = self._renderer.prompt(turns[:index])
        except ValueError:
            return None
        return len(prompt) if text.startswith(prompt) else None


def _split(marked: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The texts around the markers, and the markers' numbers."""
    parts = _MARK_PATTERN.split(marked)
    return tuple(parts[::2]), tuple(int(number) for number in parts[1::2])


def _marked(turns: Sequence[Turn], which: list[int]) -> list[Turn]:
    """The turns with a marker behind the content of some."""
    marked = set(which)
    return [
        replace(turn, content=turn.content + _MARK.format(i)) if i in marked else turn for i, turn in enumerate(turns)
    ]


def _fit(layout: _Layout, turns: Sequence[Turn], text: str) -> tuple[Span, ...] | None:
    """The spans, when the text is the layout with each content, or without the blanks at its ends."""
    position = len(layout.texts[0])
    if not text.startswith(layout.texts[0]):
        return None
    spans: dict[int, Span] = {}
    for index, behind in zip(layout.order, layout.texts[1:], strict=True):
        for content in _trimmed(turns[index].content):
            end = position + len(content)
            if text.startswith(content, position) and text.startswith(behind, end):
                break
        else:
            return None
        lead = layout.leads.get(index)
        spans[index] = Span(position, end, None if lead is None else position - lead)
        position = end + len(behind)
    return tuple(spans[index] for index in range(len(turns))) if position == len(text) else None


def _trimmed(content: str) -> tuple[str, ...]:
    if content == content.strip():
        return (content,)
    return content, content.strip(), content.rstrip(), content.lstrip()


def _ends(texts: tuple[str, ...], text: str) -> list[int] | None:
    """Where the content before each marker ends in ``text``, which has no blanks there that the template trims."""
    ends: list[int] = []
    position = 0
    for part, behind in pairwise(texts):
        for kept in (part, part.rstrip()):
            if text.startswith(kept + behind.rstrip(), position):
                position += len(kept)
                break
        else:
            return None
        ends.append(position)
    return ends if text[position:] == texts[-1] else None


def _before(end: int, content: str, gap: str) -> Span:
    """The span of a content that ends at ``end``, behind other text of ``gap``."""
    for candidate in _trimmed(content):
        if gap.endswith(candidate):
            return Span(end - len(candidate), end)
    pairs = zip(reversed(gap), reversed(content.rstrip()), strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return Span(end - common, end, whole=False)
