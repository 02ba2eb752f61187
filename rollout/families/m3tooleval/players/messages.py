"""Plays ``message_decoder``: hexadecimal text, reversed or not, under a Caesar cipher."""

from __future__ import annotations

import re
from itertools import cycle

from rollout.families.calling_expert import Call, Player

_HEX = re.compile(r"'((?:[0-9a-fA-F]{2}){3,})'")
_SHIFTS = re.compile(r"shifts? of ([\d, and]+)")
_LENGTH = re.compile(r"length equal to (\d+)")


def decode(prompt: str) -> Player:
    """Decodes every message. Reversing and shifting change no length, so where only lengths are asked for they wait."""
    texts = yield [Call("convert_hex_to_ascii", (message,)) for message in _HEX.findall(prompt)]
    if "longest" in prompt or "shortest" in prompt:
        lengths = yield [Call("string_length", (text,)) for text in texts]
        (length,) = yield [Call("maximum_value" if "longest" in prompt else "minimum_value", tuple(lengths))]
        return str(length)
    if wanted := _LENGTH.search(prompt):
        lengths = yield [Call("string_length", (text,)) for text in texts]
        texts = [text for text, length in zip(texts, lengths, strict=True) if length == int(wanted[1])]
    if "revers" in prompt:
        texts = yield [Call("reverse_string", (text,)) for text in texts]
    if any(re.search("[A-Za-z]", text) for text in texts):  # the cipher moves letters only
        found = _SHIFTS.search(prompt)
        shifts = [int(shift) for shift in re.findall(r"\d+", found[1])] if found else [0]
        texts = yield [Call("caesar_decode", one) for one in zip(texts, cycle(shifts), strict=False)]
    if "numerical maximum" in prompt:
        (most,) = yield [Call("maximum_value", tuple(int(text) for text in texts))]
        return str(most)
    return str(texts[0])
