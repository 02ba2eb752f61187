"""Rendered text as token ids, with the characters of each token.

Contract: :meth:`TextEncoder.encode` gives the ids of ``tokenizer(text, add_special_tokens=False)``. That is how servers
encode a rendered conversation: as one text, by the tokenizer's own rules for control tokens, blanks and normalisation.
Truncation and padding that were on when ``tokenizer.json`` was saved are switched off, as servers do. The one exception
is on purpose: a control token that is spelled within a turn's content is encoded as text, together with all the text up
to the control tokens of the template around it. Cost: one call of the tokenizer for a text, one more for each stretch
with such a spelling. The module does not know templates or roles.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer, processors
from transformers import PreTrainedTokenizerFast

Columns: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]
"""Ids, first characters and last characters of tokens."""

_SHORT = 256
"""Characters of a text whose ids are kept: the header of a turn."""


@dataclass(frozen=True)
class Tokens:
    """A text's tokens.

    ``ids``: int32 [n]. ``starts``, ``ends``: int64 [n], characters of the text; for a control token, those that spell
    it, without the blanks that it swallows. ``controls``: indices of the control tokens. ``spelled``: ranges of tokens
    that were encoded without control tokens.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    controls: tuple[int, ...]
    spelled: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def from_character(self, position: int) -> int:
        """Index of the first token that begins at a character or behind it."""
        return int(np.searchsorted(self.starts, position))

    def splits_at(self, position: int) -> bool:
        """Whether no token covers characters on both sides of a position."""
        before = self.from_character(position) - 1
        return before < 0 or int(self.ends[before]) <= position


class TextEncoder:
    """The encoding rules of a tokenizer. Keeps copies, so that calls of the tokenizer elsewhere change nothing here."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast):
        """Raises ``ValueError`` for settings with which no text has certain ids."""
        self.controls = {t.content: i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        if getattr(tokenizer, "split_special_tokens", False):
            raise ValueError(
                "tokenizer_config.json: split_special_tokens=true encodes control tokens as text, so no turn could end;"
                " remove it"
            )
        model = tokenizer.backend_tokenizer.model
        for setting in ("dropout", "alpha"):
            if getattr(model, setting, None):
                raise ValueError(
                    f"tokenizer.json: model.{setting}={getattr(model, setting):g} makes the ids of a text random; "
                    "set it to null in the model folder"
                )
        self._server = _copy(tokenizer.backend_tokenizer)
        self._spelling = {i: content for content, i in self.controls.items()}
        self._is_control = np.zeros(max([len(tokenizer), *self._spelling]) + 1, np.bool_)
        self._is_control[list(self._spelling)] = True
        self._separates = {
            i for i, t in tokenizer.added_tokens_decoder.items() if t.special and not t.normalized
        }  # the text behind one is encoded as if nothing stood before it
        self._short = lru_cache(maxsize=4096)(self._ids)

    def encode(self, text: str, contents: Sequence[tuple[int, int]] = ()) -> Tokens:
        """Tokens of a text in which ``contents`` are the characters of turns, in their order.

        Raises ``ValueError`` when a content spells a control token that the tokenizer makes of plain text too.
        """
        return self._encode(text, contents, self._server)

    def encode_behind(self, text: str, contents: Sequence[tuple[int, int]] = ()) -> Tokens:
        """The same for text that a model writes behind a prompt: without a blank before its first word."""
        return self._encode(text, contents, self._continuing)

    def is_prefix(self, text: str, tokens: Tokens, position: int) -> bool:
        """Whether the tokens before a character of ``text`` are the ids of the text before it.

        The tokens of ``text`` may differ from those of its beginning from the last control token on, so only this part
        is encoded again.
        """
        if not tokens.splits_at(position):
            return False
        count = tokens.from_character(position)
        control = self._last_separating(tokens, count)
        first = control or 0
        start = 0 if control is None else int(tokens.starts[control])
        if any(start < count and first < end for start, end in tokens.spelled):
            return self._is_plain_prefix(text, tokens, position, control)
        part = text[start:position]
        ids = self._short(part) if len(part) < _SHORT else self._ids(part)
        return ids == tuple(tokens.ids[first:count].tolist())

    def _last_separating(self, tokens: Tokens, count: int) -> int | None:
        """The last control token among the first ``count`` tokens behind which text is encoded on its own."""
        before = range(bisect_left(tokens.controls, count) - 1, -1, -1)
        return next(
            (i for i in map(tokens.controls.__getitem__, before) if int(tokens.ids[i]) in self._separates), None
        )

    def _is_plain_prefix(self, text: str, tokens: Tokens, position: int, control: int | None) -> bool:
        """The same behind a control token (or the beginning) for text that was encoded without control tokens."""
        start, first = (0, 0) if control is None else (int(tokens.ends[control]), control + 1)
        encoder = self._as_text[control is not None]
        ids = encoder.encode(text[start:position], add_special_tokens=False).ids
        return ids == tokens.ids[first : tokens.from_character(position)].tolist()

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._server.encode(text, add_special_tokens=False).ids)

    @cached_property
    def _continuing(self) -> Tokenizer:
        return without_prefix_space(self._server, anywhere=True)

    @cached_property
    def _unknown(self) -> frozenset[int]:
        """The token of unknown characters, which ends nothing: plain text may become it."""
        return frozenset(self._server.encode("\U0010ffff", add_special_tokens=False).ids)

    @cached_property
    def _as_text(self) -> tuple[Tokenizer, Tokenizer]:
        """Encoders that know no control tokens: for the beginning of a text, and for text behind a control token."""
        first = _copy(self._server)
        first.encode_special_tokens = True
        return first, without_prefix_space(first)

    def _encode(self, text: str, contents: Sequence[tuple[int, int]], encoder: Tokenizer) -> Tokens:
        columns = _columns(encoder.encode(text, add_special_tokens=False))
        controls = self._controls_in(text, columns)
        cores = [_core(text, int(columns[1][i]), int(columns[2][i])) for i in controls]
        if inside := _inside(cores, contents):
            return self._spell_out(text, columns, controls, [controls[which] for which in inside])
        _narrow(columns, controls, cores)
        return Tokens(*columns, tuple(controls))

    def _controls_in(self, text: str, columns: Columns) -> list[int]:
        """Control tokens that the text spells; an unknown token is one only where it is written."""
        ids, starts, ends = columns
        found = np.flatnonzero(self._is_control[ids]).tolist()
        return [i for i in found if text[starts[i] : ends[i]].strip() == self._spelling[int(ids[i])]]

    def _spell_out(self, text: str, columns: Columns, controls: list[int], inside: list[int]) -> Tokens:
        """Encode the stretches with control tokens of contents again, as text."""
        _, starts, ends = columns
        kept = sorted(set(controls) - set(inside))
        parts: list[Columns] = []
        spelled: list[tuple[int, int]] = []
        now: list[int] = []  # the kept control tokens among the new tokens
        length = 0
        for before, behind in pairwise([-1, *kept, len(starts)]):
            part = _slice(columns, before + 1, behind)
            if any(before < i < behind for i in inside):
                start = int(ends[before]) if before >= 0 else 0
                end = int(starts[behind]) if behind < len(starts) else len(text)
                part = self._plain(text[start:end], start, first=before < 0)
                spelled.append((length, length + len(part[0])))
            parts += [part, _slice(columns, behind, behind + 1)]
            now.append(length := length + len(part[0]))
            length += 1
        ids, starts, ends = (np.concatenate(column) for column in zip(*parts, strict=True))
        now = [index for index in now if index < len(ids)]
        _narrow((ids, starts, ends), now, [_core(text, int(starts[i]), int(ends[i])) for i in now])
        return Tokens(ids, starts, ends, tuple(now), tuple(spelled))

    def _plain(self, text: str, shift: int, *, first: bool) -> Columns:
        """Tokens of a text without control tokens, at ``shift`` characters from the beginning."""
        columns = _columns(self._as_text[not first].encode(text, add_special_tokens=False))
        found = [int(columns[0][index]) for index in self._controls_in(text, columns)]
        if wrong := [token for token in found if token not in self._unknown]:
            token = self._spelling[wrong[0]]
            raise ValueError(f"a turn spells {token}, which this tokenizer makes of plain text too")
        ids, starts, ends = columns
        return ids, starts + shift, ends + shift


def join(first: Tokens, second: Tokens, length: int) -> Tokens:
    """The tokens of two texts, of which the first has ``length`` characters, one behind the other."""
    count = len(first)
    return Tokens(
        np.concatenate([first.ids, second.ids]),
        np.concatenate([first.starts, second.starts + length]),
        np.concatenate([first.ends, second.ends + length]),
        (*first.controls, *(index + count for index in second.controls)),
        (*first.spelled, *((start + count, end + count) for start, end in second.spelled)),
    )


def without_prefix_space(tokenizer: Tokenizer, *, anywhere: bool = False) -> Tokenizer:
    """The tokenizer for text behind a control token: the same one, or a copy that adds no blank before it.

    SentencePiece tokenizers put a blank before the first word of a text only (``prepend_scheme: first``). Text behind a
    control token that is tokenised alone would wrongly get one too. ``anywhere``: also remove the blank that a
    tokenizer puts before each stretch of text.
    """
    state = json.loads(tokenizer.to_str())
    schemes = ("first", "always") if anywhere else ("first",)

    def changed(part: Any) -> Any:
        if isinstance(part, list):
            return [changed(one) for one in part]
        if not isinstance(part, dict):
            return part
        new = {key: changed(value) for key, value in part.items()}
        if part.get("prepend_scheme") in schemes:
            new["prepend_scheme"] = "never"
        if anywhere and part.get("type") == "Prepend":
            new["prepend"] = ""
        if anywhere and part.get("type") == "ByteLevel" and part.get("add_prefix_space"):
            new["add_prefix_space"] = False
        return new

    steps = {key: changed(state[key]) for key in ("normalizer", "pre_tokenizer")}
    if all(state[key] == step for key, step in steps.items()):
        return tokenizer
    copy = Tokenizer.from_str(json.dumps(state | steps))
    copy.encode_special_tokens = tokenizer.encode_special_tokens
    return copy


def _copy(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that neither cuts, pads nor adds tokens, and reports the characters of each token with its blanks."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.post_processor = processors.Sequence([])  # of a byte-level tokenizer, it moves offsets past blanks
    return copy


def _columns(encoding: Encoding) -> Columns:
    """Ids, and the first and the last character of each token."""
    ids = np.array(encoding.ids, np.int32)
    offsets = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * len(ids))
    return ids, offsets[::2].copy(), offsets[1::2].copy()


def _slice(columns: Columns, start: int, end: int) -> Columns:
    ids, starts, ends = columns
    return ids[start:end], starts[start:end], ends[start:end]


def _inside(cores: list[tuple[int, int]], contents: Sequence[tuple[int, int]]) -> list[int]:
    """Which of these stretches begin within a content."""
    begins = [start for start, _ in contents]
    found = []
    for which, (start, _) in enumerate(cores):
        before = bisect_right(begins, start) - 1
        if before >= 0 and start < contents[before][1]:
            found.append(which)
    return found


def _core(text: str, start: int, end: int) -> tuple[int, int]:
    """The characters of a token without the blanks at its ends."""
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


def _narrow(columns: Columns, controls: list[int], cores: list[tuple[int, int]]) -> None:
    """Reduce control tokens to the characters that spell them."""
    if controls:
        columns[1][controls], columns[2][controls] = zip(*cores, strict=True)
