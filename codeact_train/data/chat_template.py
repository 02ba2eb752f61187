"""Chat template: conversations as tokens, each with its role and its loss weight.

Contract: a document is what a server makes of the first messages of a conversation: its ids are those of
``apply_chat_template(messages, tokenize=True)``. For every assistant turn that it trains, it begins with the ids that a
server is sent for this turn (the messages before it, ``add_generation_prompt=True``). What this prompt leaves to the
model is trained: the turn's text, what the template writes before it, and the control token that ends it. All else is
context.

When one document cannot do this for all trained turns, a conversation becomes several, and each turn is trained in the
longest that can: Qwen3's template leaves the thoughts of a turn out of later prompts, so a document that ends with this
turn trains them. Two exceptions from the equality are on purpose:

- Text within a turn never becomes a control token (a token the tokenizer marks as special). It is encoded as text, and
  so is nothing else. Other added tokens are ordinary vocabulary: text that spells one becomes that token.
- A turn whose first characters the tokenizer would join with the end of the prompt gets a document of its own, in which
  the prompt and the turn are encoded apart: the model writes behind the prompt's tokens and could never produce the
  joint one. Prompts of later turns hold the joint token, as a server encodes them.

Cost: that of ``turn_spans`` and ``text_encoding``, once for each document. This module does not read records
(``records``), decide which turns are trained, or handle over-long documents (``prepare``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from codeact_train.config.prepare import TEMPLATE_DATE
from codeact_train.data.document import ROLES, Document, Turn
from codeact_train.data.rendering import Renderer
from codeact_train.data.text_encoding import TextEncoder, Tokens, join
from codeact_train.data.tokenizer import load_tokenizer
from codeact_train.data.turn_spans import Rendering, SpanFinder
from codeact_train.data.turn_tokens import turn_tokens

_NO_END = "the chat template ends an assistant turn without a control token, so the model cannot learn to stop"

_OTHER_TEMPLATE = (
    "set prepare.chat_template to another template, or make the template's own tokens control tokens with "
    "prepare.add_tokens"
)

_REWRITTEN = "the chat template rewrites the text of turn {}, so its tokens cannot be identified"

_PROBES = (
    ("user", "assistant"),
    ("system", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("system", "user", "assistant", "user", "assistant"),
)
"""Conversations that show how turns end; a template may refuse some."""


class ChatFormat:
    """Tokenizer and chat template of a Hugging Face model folder.

    ``end_token``: the control token that ends the last assistant turn of a conversation. ``end_tokens``: this one and
    those that end earlier turns, if they are others.
    """

    def __init__(self, folder: Path, day: str = TEMPLATE_DATE, named: Path | None = None):
        """``named``: the model's folder for error messages, where ``folder`` is a copy of its tokenizer.

        Raises ``ValueError`` when the folder's tokenizer has no chat template, no fast implementation, or settings with
        which ids are not certain.
        """
        tokenizer = load_tokenizer(folder, named)
        if not tokenizer.chat_template:
            raise ValueError(
                f"model={named or folder}: no chat template; put a chat_template.jinja into the folder or set "
                "prepare.chat_template to chatml or to a Jinja file"
            )
        self.tokenizer = tokenizer
        self.renderer = Renderer(tokenizer, day)
        try:
            self._encoder = TextEncoder(tokenizer)
        except ValueError as error:
            raise ValueError(f"model={named or folder}: {error}") from error
        self._spans = SpanFinder(self.renderer)
        controls = sorted(self._encoder.controls, key=len, reverse=True)
        self._control_pattern = re.compile("|".join(map(re.escape, controls)) or "(?!)")
        try:
            self.end_tokens = self._find_end_tokens()
        except ValueError as error:
            raise ValueError(f"model={named or folder}: {error}; {_OTHER_TEMPLATE}") from error
        self.end_token = self.end_tokens[0]

    def _find_end_tokens(self) -> tuple[int, ...]:
        """The control tokens that end assistant turns, the last turn's first."""
        found: list[int] = []
        refused: list[ValueError] = []
        for roles in _PROBES:
            turns = [Turn(role, "x") for role in roles]
            try:
                found += self._ends_of(turns)
            except ValueError as error:
                refused.append(error)
                continue
            self._compare(turns)
        if not found:
            raise refused[0]
        return tuple(dict.fromkeys(found))

    def _compare(self, turns: Sequence[Turn]) -> None:
        """Raise ``ValueError`` if the tokenizer's class encodes text in another way than its ``tokenizer.json``."""
        ids = self.renderer.ids(turns)
        if ids != self._encode(self._spans.find(turns)).ids.tolist():
            raise ValueError(
                f"the tokenizer class {type(self.tokenizer).__name__} encodes a conversation in another way than its "
                "tokenizer.json; set tokenizer_class to PreTrainedTokenizerFast in tokenizer_config.json"
            )

    def _ends_of(self, turns: Sequence[Turn]) -> list[int]:
        """The tokens that end the assistant turns of a conversation, the last turn's first."""
        rendering = self._spans.find(turns)
        tokens = self._encode(rendering)
        assistants = [place for place in turn_tokens(rendering, tokens, turns) if turns[place.turn].role == "assistant"]
        if not all(place.ended for place in assistants):
            raise ValueError(_NO_END)
        return [int(tokens.ids[place.end - 1]) for place in reversed(assistants)]

    def render(self, turns: Sequence[Turn]) -> str:
        """The text a server builds for these turns."""
        return self.renderer.conversation(turns)

    def has_control_text(self, text: str) -> bool:
        """Whether the text spells out a control token. Such text is still encoded as text."""
        return self._control_pattern.search(text) is not None

    def encode(self, turns: Sequence[Turn]) -> Document:
        """Tokens of a conversation that needs only one document. Raises ``ValueError`` when it needs more."""
        documents = self.documents(turns)
        if len(documents) > 1:
            raise ValueError(f"the chat template renders these turns in {len(documents)} ways; use documents()")
        return documents[0]

    def documents(self, turns: Sequence[Turn]) -> list[Document]:
        """The documents of a conversation, the shortest first; every trained turn is trained in one of them.

        Raises ``ValueError`` when the template refuses the turns, leaves one out or rewrites the text of a trained one,
        or when a server's prompt for a trained turn is not a beginning of the rendered conversation.
        """
        waiting = {index for index, turn in enumerate(turns) if turn.weight and turn.role == "assistant"}
        made: list[Document] = []
        length = len(turns)
        while length:
            rendering = self._spans.find(turns[:length])
            tokens = self._encode(rendering)
            trained = {index for index in waiting if self._fits(index, rendering, tokens)}
            others = _others(turns) if length == len(turns) else set()
            if trained or others or not waiting:
                made.append(self._label(rendering, tokens, turns[:length], trained | others))
            waiting -= trained
            if length - 1 in waiting:  # not even its own conversation begins with its prompt
                made.append(self._apart(rendering, turns[:length]))
                waiting.remove(length - 1)
            length = max(waiting, default=-1) + 1
        return made[::-1]

    def _encode(self, rendering: Rendering) -> Tokens:
        contents = sorted((span.start, span.end) for span in rendering.spans if span)
        return self._encoder.encode(rendering.text, contents)

    def _fits(self, index: int, rendering: Rendering, tokens: Tokens) -> bool:
        """Whether the document can train an assistant turn."""
        span = rendering.spans[index]
        if span is None or span.prompt is None or not span.whole:
            return False
        return self._encoder.is_prefix(rendering.text, tokens, span.prompt)

    def _apart(self, rendering: Rendering, turns: Sequence[Turn]) -> Document:
        """The document of a conversation whose last turn is encoded apart from its prompt."""
        index = len(turns) - 1
        span = rendering.spans[index]
        if span is None or not span.whole:
            raise ValueError(_REWRITTEN.format(index))
        if span.prompt is None:
            raise ValueError(self._other_prompt(rendering.text, turns))
        at = span.prompt
        contents = sorted((one.start, one.end) for one in rendering.spans if one)
        before = [(start, min(end, at)) for start, end in contents if start < at]
        behind = [(max(start, at) - at, end - at) for start, end in contents if end > at]
        text = rendering.text
        tokens = join(self._encoder.encode(text[:at], before), self._encoder.encode_behind(text[at:], behind), at)
        return self._label(rendering, tokens, turns, {index})

    def _other_prompt(self, text: str, turns: Sequence[Turn]) -> str:
        prompt = self.renderer.prompt(turns[:-1])
        same = next((i for i, (one, other) in enumerate(zip(prompt, text, strict=False)) if one != other), len(text))
        part = slice(max(same - 8, 0), same + 16)
        return (
            f"a server's prompt for turn {len(turns) - 1} is not the beginning of the rendered conversation: it has "
            f"{prompt[part]!r} where the conversation has {text[part]!r}"
        )

    def _label(self, rendering: Rendering, tokens: Tokens, turns: Sequence[Turn], trained: set[int]) -> Document:
        """The document with the role of each token, and the weights of the turns it trains."""
        roles = np.zeros(len(tokens), np.uint8)
        weights = np.zeros(len(tokens), np.float32)
        headers = dict.fromkeys(range(len(turns)), 0)
        for place in turn_tokens(rendering, tokens, turns):
            turn, mine = turns[place.turn], slice(place.first, place.end)
            headers[place.turn] = place.header
            roles[mine] = ROLES.get(turn.role, ROLES["none"])
            if place.turn not in trained:
                continue
            if (span := rendering.spans[place.turn]) and not span.whole:
                raise ValueError(_REWRITTEN.format(place.turn))
            if turn.role == "assistant" and not (place.ended and int(tokens.ids[place.end - 1]) in self.end_tokens):
                raise ValueError(_NO_END)
            weights[mine] = turn.weight
        return Document(tokens.ids, roles, weights, tuple(accumulate(headers.values(), max)))


def _others(turns: Sequence[Turn]) -> set[int]:
    """Trained turns that the model does not write; they are trained in the document of the whole conversation."""
    return {index for index, turn in enumerate(turns) if turn.weight and turn.role != "assistant"}
