"""Chat template: conversations as tokens, each with its role and its loss weight.

Contract: the ids are those a server gets when it renders the tokenizer's chat template, except that text inside a turn
never becomes a control token (a token the tokenizer marks as special). Other added tokens are ordinary vocabulary: text
that spells one becomes that token, here as on a server. A turn with a weight trains its text and the control token that
ends it. Headers and everything else the template adds are context. Cost: two template renderings, and about two
tokenizer calls per turn.

How content is distinguished from template text: the template is rendered with a marker in place of each turn's content.
Text between markers belongs to the template and may hold control tokens; text that replaces a marker belongs to the
turn and may not. This module does not read records (``records``), decide which turns are trained, or handle over-long
documents (``prepare``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from codeact_train.data.document import ROLES, Document, Turn
from codeact_train.data.tokenizer import load_tokenizer, without_prefix_space

_MARK = "\ue000{}\ue001"  # private-use characters: no template or tokenizer gives them a meaning
_MARK_PATTERN = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class _Piece:
    """A span of rendered text: a control token, plain text of the template, or a turn's content."""

    text: str
    control: bool = False
    turn: int | None = None


class ChatFormat:
    """Tokenizer and chat template of a Hugging Face model folder."""

    def __init__(self, folder: Path):
        """Raises ``ValueError`` when the folder's tokenizer has no chat template or no fast implementation."""
        tokenizer = load_tokenizer(folder)
        if not tokenizer.chat_template:
            raise ValueError(
                f"model={folder}: no chat template; put a chat_template.jinja into the folder or set "
                "prepare.chat_template"
            )
        self.tokenizer = tokenizer
        self._controls = {t.content: i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        self._control_pattern = re.compile("|".join(map(re.escape, sorted(self._controls, key=len, reverse=True))))
        self._first = tokenizer.backend_tokenizer
        self._first.encode_special_tokens = True  # from now on, control tokens spelled in text are encoded as text
        self._later = without_prefix_space(self._first)
        self._header = lru_cache(maxsize=4096)(self._encode)
        self.end_token = self._find_end_token()

    def _find_end_token(self) -> int:
        """The control token that ends an assistant turn."""
        document = self.encode([Turn("user", "x"), Turn("assistant", "x", 1.0)])
        end = int(document.ids[document.weights > 0][-1])
        if end not in self._controls.values():
            raise ValueError(
                "the chat template ends an assistant turn without a control token, so the model cannot learn to stop"
            )
        return end

    def render(self, turns: Sequence[Turn]) -> str:
        """The text a server builds for these turns."""
        return self._apply([{"role": t.role, "content": t.content} for t in turns])

    def has_control_text(self, text: str) -> bool:
        """Whether the text spells out a control token. Such text is still encoded as text."""
        return self._control_pattern.search(text) is not None

    def encode(self, turns: Sequence[Turn]) -> Document:
        """Tokens of a conversation.

        Blanks that the template trims from the ends of a turn are left out, as on a server. Raises ``ValueError`` when
        the template refuses the turns or rewrites their text.
        """
        marked = self._apply([{"role": t.role, "content": _MARK.format(i)} for i, t in enumerate(turns)])
        rendered = self.render(turns)
        if _filled(marked, turns) != rendered:
            turns = [replace(t, content=t.content.strip()) for t in turns]
            if _filled(marked, turns) != rendered:
                raise ValueError("the chat template rewrites a turn's text, so its tokens cannot be identified")
        if sorted(int(m) for m in _MARK_PATTERN.findall(marked)) != list(range(len(turns))):
            raise ValueError("the chat template leaves out or repeats a turn")
        return self._assemble(list(self._pieces(marked, turns)), turns)

    def _apply(self, messages: list[dict[str, str]]) -> str:
        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False))
        except Exception as error:  # templates may raise any exception
            raise ValueError(f"the chat template refuses these turns: {error}") from error

    def _pieces(self, marked: str, turns: Sequence[Turn]) -> Iterator[_Piece]:
        position = 0
        for mark in _MARK_PATTERN.finditer(marked):
            yield from self._scaffold(marked[position : mark.start()])
            yield _Piece(turns[int(mark[1])].content, turn=int(mark[1]))
            position = mark.end()
        yield from self._scaffold(marked[position:])

    def _scaffold(self, text: str) -> Iterator[_Piece]:
        position = 0
        for control in self._control_pattern.finditer(text):
            if control.start() > position:
                yield _Piece(text[position : control.start()])
            yield _Piece(control[0], control=True)
            position = control.end()
        if position < len(text):
            yield _Piece(text[position:])

    def _assemble(self, pieces: list[_Piece], turns: Sequence[Turn]) -> Document:
        """Tokenise span by span between control tokens, and label each token with its turn."""
        ids: list[int] = []
        roles: list[int] = []
        weights: list[float] = []
        starts: list[int] = []
        done: tuple[int, ...] = ()
        before = ""  # text since the last control token; `done` holds its tokens so far
        ending: int | None = None  # the turn whose end token is still to come
        last_control = 0
        for piece in pieces:
            if piece.control:
                tokens: tuple[int, ...] = (self._controls[piece.text],)
                before, done = "", ()
            else:
                tokens = self._continue(before, done, piece.text, first=len(done) == len(ids))
                before, done = before + piece.text, done + tokens
            turn = piece.turn if piece.turn is not None else ending
            if piece.turn is not None:
                ending = piece.turn
                starts.append(last_control)
            role = ROLES["none"] if turn is None else ROLES.get(turns[turn].role, ROLES["none"])
            weight = 0.0 if turn is None else turns[turn].weight
            if piece.control:
                last_control, ending = len(ids), None
            ids += tokens
            roles += [role] * len(tokens)
            weights += [weight] * len(tokens)
        return Document(
            np.array(ids, np.int32), np.array(roles, np.uint8), np.array(weights, np.float32), tuple(starts)
        )

    def _continue(self, before: str, done: tuple[int, ...], text: str, *, first: bool) -> tuple[int, ...]:
        """Tokens of ``text`` after ``before``; ``first`` when no control token precedes them.

        The tokens come from the joint tokenisation, as a server makes it, unless one would span the boundary. The model
        generates after ``before`` was tokenised alone and could never produce such a token, so the text is then
        tokenised alone.
        """
        if not before:
            return self._header(text, first)
        joint = self._encode(before + text, first)
        if joint[: len(done)] == done:
            return joint[len(done) :]
        return self._encode(text, False)

    def _encode(self, text: str, first: bool) -> tuple[int, ...]:
        return tuple((self._first if first else self._later).encode(text, add_special_tokens=False).ids)


def _filled(marked: str, turns: Sequence[Turn]) -> str:
    """The marked rendering with each marker replaced by its turn's content."""
    return _MARK_PATTERN.sub(lambda m: turns[int(m[1])].content, marked)
